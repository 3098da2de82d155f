// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"net/http"
	"path"
	"time"
)

const jsonAPI = "application/vnd.api+json"

// txn simulates Txn's payment links, as both generations of its page "Expiring payment link" document them.
type txn struct{}

func (txn) routes() map[string]string {
	return map[string]string{
		Expire:  "POST /api/public/v1/payment_links/{id}/expiration",
		Observe: "GET /api/public/v1/payment_links/{id}",
	}
}

func (txn) refuse(r *http.Request, body []byte, keys map[string]string) *Reply {
	if bearer(r) != keys["apiKey"] {
		// The status is a number here, as in the sample of the provider.
		return &Reply{Code: 401, Header: txnHeader(), Body: map[string]any{
			"errors": []any{map[string]any{"status": 401, "title": "HTTP Token: Access denied.", "code": "unauthorized"}},
		}}
	}
	if r.Header.Get("Content-Type") != jsonAPI {
		refusal := txnError(415, "415", "unsupported_media_type", "Content-Type must be "+jsonAPI)
		return &refusal
	}
	if len(body) > 0 {
		refusal := txnError(400, "400", "bad_request", "Unexpected request body")
		return &refusal
	}
	return nil
}

func (txn) unknown(string, string) Reply {
	return txnError(404, "404", "not_found", "Payment link not found")
}

func (t txn) expire(object *Object, now time.Time) Reply {
	if object.State != Open && object.State != Pending {
		return txnError(422, "422", "unprocessable_entity", "Only created or pending payment links can be expired")
	}
	object.State, object.endedAt = Expired, now
	return t.show(object, nil)
}

func (txn) show(object *Object, _ *http.Request) Reply {
	status := map[State]string{Open: "created", Pending: "pending", Paid: "completed", Expired: "expired"}[object.State]
	expiresAt := object.createdAt.Add(time.Hour)
	if object.State == Expired {
		expiresAt = object.endedAt
	}
	attributes := map[string]any{
		"amount": "50.00", "currency": "EUR", "accountCurrency": "EUR", "network": nil, "networkName": nil,
		"reference": path.Join(object.Owner, "order-1042"), "hostedPageUrl": "https://sandbox.txn.io/redirect?payment_link_id=" + object.ID,
		"status": status, "expiresAt": timestamp(expiresAt), "createdAt": timestamp(object.createdAt),
		"paymentType": "Invoice", "paymentMethods": []any{"on_chain"},
		"successRedirectUrl": nil, "unsuccessRedirectUrl": nil,
	}
	if object.Variant == Payout {
		attributes["paymentType"] = "Payout"
	}
	var target any
	if object.State == Paid {
		target = map[string]any{"id": "5f1c2a0e-6d59-4b9d-9a30-1a1d0c1e6f10", "type": "invoices"}
	}
	document := map[string]any{
		"data": map[string]any{
			"id": object.ID, "type": "paymentLinks", "attributes": attributes,
			"relationships": map[string]any{"target": map[string]any{"data": target}},
		},
	}
	if object.Variant == Legacy {
		attributes["payCurrencies"], document["included"] = []any{}, []any{}
	} else {
		attributes["approvalStatus"] = nil
		document["meta"], document["jsonapi"] = map[string]any{}, map[string]any{"version": "1.0"}
	}
	return Reply{Code: 200, Header: txnHeader(), Body: document}
}

func txnHeader() map[string]string { return map[string]string{"Content-Type": jsonAPI} }

func txnError(code int, status, name, detail string) Reply {
	return Reply{Code: code, Header: txnHeader(), Body: map[string]any{
		"errors": []any{map[string]any{"status": status, "title": http.StatusText(code), "code": name, "detail": detail}},
	}}
}
