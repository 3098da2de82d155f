// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"net/http"
	"strings"
	"time"
)

// omise simulates Omise's charges, as its page "Expire a charge" and the official pages on charges and errors
// document them.
type omise struct{}

func (omise) routes() map[string]string {
	return map[string]string{
		Expire:  "POST /charges/{id}/expire",
		Observe: "GET /charges/{id}",
	}
}

func (omise) refuse(r *http.Request, body []byte, keys map[string]string) *Reply {
	user, password, ok := r.BasicAuth()
	if !ok || user != keys["secretKey"] || password != "" {
		return &Reply{Code: 401, Body: omiseError("authentication_failure", "authentication failed")}
	}
	if len(body) > 0 {
		return &Reply{Code: 400, Body: omiseError("bad_request", "unexpected request body")}
	}
	return nil
}

func (omise) unknown(_, id string) Reply {
	return Reply{Code: 404, Body: omiseError("not_found", "charge "+id+" was not found")}
}

func (o omise) expire(object *Object, now time.Time) Reply {
	var code, message string
	switch {
	case object.Variant == Card:
		code, message = "not_expirable", "payment method does not support manual expiration"
	case object.Variant == Authorized:
		code, message = "already_authorized", "charge is already authorized"
	case object.State == Expired:
		code, message = "already_expired", "charge is already expired"
	case object.State != Open:
		code, message = "not_pending", "charge is not pending"
	default:
		object.State, object.endedAt = Expired, now
		return Reply{Code: 200, Body: o.charge(object)}
	}
	if object.Variant == OfficialErrors {
		return Reply{Code: 400, Body: omiseError("failed_expire", "expire failed")}
	}
	return Reply{Code: 422, Body: omiseError(code, message)}
}

func (o omise) show(object *Object, r *http.Request) Reply {
	charge := o.charge(object)
	if r.Header.Get("Omise-Version") != "2019-05-29" {
		// Without the header, the setting of the account selects the version. Older versions have no status.
		delete(charge, "status")
		charge["captured"] = charge["paid"]
	}
	return Reply{Code: 200, Body: charge}
}

func (omise) charge(object *Object) map[string]any {
	status := map[State]string{
		Open: "pending", Pending: "pending", Paid: "successful", Expired: "expired", Failed: "failed", Refunded: "reversed",
	}[object.State]
	charge := map[string]any{
		"object": "charge", "id": object.ID, "created_at": timestamp(object.createdAt), "livemode": false, "amount": 100000, "currency": "THB", "status": status,
		"expired": false, "expires_at": timestamp(object.createdAt.Add(24 * time.Hour)), "expired_at": nil,
		"paid": false, "authorized": object.Variant == Authorized, "reversed": object.State == Refunded, "voided": false,
		"description": nil, "metadata": map[string]any{},
		"source": map[string]any{"object": "source", "type": "alipay_cn", "flow": "app_redirect"},
	}
	if cluster, namespace, ok := strings.Cut(object.Owner, "/"); ok {
		charge["metadata"] = map[string]any{"cluster": cluster, "namespace": namespace}
	}
	switch object.State {
	case Expired:
		ended := timestamp(object.endedAt)
		charge["expired"], charge["expired_at"], charge["expires_at"] = true, ended, ended
	case Paid:
		// A recorded fixture of a paid charge has an expired_at, which therefore does not prove an expiry.
		charge["paid"], charge["authorized"], charge["expired_at"] = true, true, charge["expires_at"]
	}
	return charge
}

func omiseError(code, message string) map[string]any {
	return map[string]any{
		"object": "error", "location": "https://docs.omise.co/api/errors#" + code, "code": code, "message": message,
	}
}
