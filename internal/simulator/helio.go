// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"cmp"
	"fmt"
	"net/http"
	"time"
)

// helio simulates Helio's charges, as its page "Expire a Charge" documents them.
type helio struct{}

func (helio) routes() map[string]string {
	return map[string]string{
		Expire:  "POST /v1/charge/api-key/{id}/expire",
		Observe: "GET /v1/charge/{id}",
	}
}

func (helio) refuse(r *http.Request, body []byte, keys map[string]string) *Reply {
	if r.URL.Query().Get("apiKey") != keys["apiKey"] || bearer(r) != keys["secretKey"] {
		return &Reply{Code: 401, Body: map[string]any{"message": "Api key or token is invalid", "code": 401}}
	}
	if len(body) > 0 {
		return &Reply{Code: 400, Body: helioError(400, "Unexpected request body")}
	}
	return nil
}

func (helio) unknown(_, id string) Reply {
	return Reply{Code: 404, Body: helioError(404, fmt.Sprintf("Charge not found for token %q", id))}
}

func (helio) expire(object *Object, now time.Time) Reply {
	switch {
	case object.Variant == OtherMerchant:
		return Reply{Code: 401, Body: helioError(401, "Not allowed to expire charge")}
	case object.State == Paid, object.State == Pending:
		return Reply{Code: 400, Body: helioError(400, "Cannot expire a charge that has a successful or pending transaction")}
	case object.State == Expired:
		return Reply{Code: 400, Body: helioError(400, "Charge is already expired")}
	}
	object.State, object.endedAt = Expired, now
	return Reply{Code: 204}
}

func (helio) show(object *Object, _ *http.Request) Reply {
	charge := map[string]any{
		"id": "681389bfba5dc7557c9608ec", "token": object.ID, "currencySymbol": "USDC", "requestAmount": "1000000",
		"expiresAt": timestamp(time.Now().Add(time.Hour)), "windowClosed": false,
		"paylink":   map[string]any{"id": cmp.Or(object.Owner, "6813481776c142eb631c14fa"), "disabled": false},
		"paylinkTx": nil, "paylinkTxs": []any{},
	}
	transaction := func(status string) {
		tx := map[string]any{"id": "6813481776c142eb631c14fb", "meta": map[string]any{"transactionStatus": status}}
		charge["paylinkTx"], charge["paylinkTxs"] = tx, []any{tx}
	}
	switch object.State {
	case Pending:
		transaction("PENDING")
	case Paid:
		transaction("SUCCESS")
	case Failed:
		transaction("FAILED")
	case Expired:
		charge["windowClosed"], charge["expiresAt"] = true, timestamp(object.endedAt)
	}
	return Reply{Code: 200, Body: charge}
}

func helioError(code int, message string) map[string]any {
	return map[string]any{"message": message, "statusCode": code}
}
