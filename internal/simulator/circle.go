// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// circle simulates Circle's payment intents, as its page "Expire a payment intent" documents them.
type circle struct{}

func (circle) routes() map[string]string {
	return map[string]string{
		Expire:  "POST /v1/paymentIntents/{id}/expire",
		Observe: "GET /v1/paymentIntents/{id}",
	}
}

func (c circle) refuse(r *http.Request, body []byte, keys map[string]string) *Reply {
	if bearer(r) != keys["apiKey"] {
		const message = "Malformed authorization. Are the credentials properly encoded?"
		return &Reply{Code: 401, Header: circleHeader(), Body: circleError(401, message)}
	}
	if r.Method != http.MethodPost {
		return nil
	}
	var object map[string]any
	isJSON := strings.HasPrefix(r.Header.Get("Content-Type"), "application/json")
	if !isJSON || json.Unmarshal(body, &object) != nil || object == nil {
		return &Reply{Code: 400, Header: circleHeader(), Body: circleError(400, "Bad request.")}
	}
	return nil
}

func (circle) unknown(string, string) Reply {
	return Reply{Code: 404, Header: circleHeader(), Body: circleError(404, "Not found.")}
}

// expire replies with the intent as it was created: the only timeline entry of the documented reply is "created".
func (c circle) expire(object *Object, now time.Time) Reply {
	if object.State != Open {
		return Reply{Code: 400, Header: circleHeader(), Body: circleError(2, "The payment intent cannot be expired.")}
	}
	object.State, object.endedAt = Expired, now
	stale := *object
	stale.State = "new"
	return Reply{Code: 201, Header: circleHeader(), Body: c.intent(&stale)}
}

func (c circle) show(object *Object, _ *http.Request) Reply {
	return Reply{Code: 200, Header: circleHeader(), Body: c.intent(object)}
}

func (circle) intent(object *Object) map[string]any {
	entry := func(status, context string, at time.Time) map[string]any {
		entry := map[string]any{"status": status, "time": at.UTC().Format("2006-01-02T15:04:05.000000Z")}
		if context != "" {
			entry["context"] = context
		}
		return entry
	}
	timeline := []any{entry("created", "", object.createdAt)}
	paid, payments := "0.00", []any{}
	end := object.endedAt
	switch object.State {
	case Open, Pending, Paid, Failed, Refunded, Expired:
		watched := "pending"
		if object.Variant == Continuous {
			watched = "active"
		}
		timeline = append(timeline, entry(watched, "", object.createdAt.Add(time.Second)))
	}
	switch object.State {
	case Pending:
		paid, payments = "1.00", []any{"66c56b6a-fc79-338b-8b94-aacc4f0f18de"}
	case Paid:
		timeline = append(timeline, entry("complete", "paid", end))
		paid, payments = "3.14", []any{"66c56b6a-fc79-338b-8b94-aacc4f0f18de"}
	case Refunded:
		timeline = append(timeline, entry("complete", "paid", end.Add(-time.Second)), entry("refunded", "", end))
	case Failed:
		timeline = append(timeline, entry("failed", "", end))
	case Expired:
		if object.Variant == MintPreview {
			timeline = append(timeline, entry("complete", "expired", end))
			break
		}
		expired := entry("expired", "", end)
		expired["reason"] = "requested_by_merchant"
		timeline = append(timeline, expired)
	}
	// The samples show the newest entry first, but nothing documents the order. So the first and the last entry are
	// swapped here.
	timeline[0], timeline[len(timeline)-1] = timeline[len(timeline)-1], timeline[0]
	money := func(amount string) map[string]any { return map[string]any{"amount": amount, "currency": "USD"} }
	intent := map[string]any{
		"id": object.ID, "amountPaid": money(paid), "settlementCurrency": "USD", "timeline": timeline,
		"paymentMethods": []any{map[string]any{
			"type": "blockchain", "chain": "ETH", "address": "0x8381470ED67C3802402dbbFa0058E8871F017A6F",
		}},
		"createDate": timestamp(object.createdAt), "updateDate": timestamp(time.Now()),
	}
	if object.Owner != "" {
		intent["merchantWalletId"] = object.Owner
	}
	if object.Variant == Continuous {
		intent["currency"], intent["type"] = "USD", "continuous"
	} else {
		intent["amount"], intent["paymentIds"] = money("3.14"), payments
	}
	return map[string]any{"data": intent}
}

func circleError(code int, message string) map[string]any {
	return map[string]any{"code": code, "message": message}
}

func circleHeader() map[string]string {
	return map[string]string{"X-Request-Id": "2adba88e-9d63-44bc-b975-9b6ae3440dde"}
}
