// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"net/http"

	"github.com/payops-dev/payment-session-operator/internal/simulator"
)

// lists are how the providers of the catalogue list sessions, by class: the form of a page is in no example of a read.
var lists = map[string]simulator.DescribedList{
	// https://docs.stripe.com/api/checkout/sessions/list
	"stripe-checkout": {
		CreatedAt: "created", Unix: true, Cursor: "starting_after",
		Page: func(items []any, next string) simulator.Reply {
			return page(map[string]any{"object": "list", "has_more": next != "", "data": items})
		},
	},
	// https://docs.mollie.com/reference/pagination
	"mollie": {
		CreatedAt: "createdAt", Cursor: "from", Inclusive: true,
		Page: func(items []any, next string) simulator.Reply {
			return page(map[string]any{
				"count": len(items), "_embedded": map[string]any{"payments": items}, "_links": map[string]any{"next": link(next)},
			})
		},
	},
	// https://github.com/xendit/xendit-go/blob/master/docs/InvoiceApi.md
	"xendit": {
		CreatedAt: "created", Cursor: "last_invoice",
		Page: func(items []any, _ string) simulator.Reply { return page(items) },
	},
	// https://docs.fintoc.com/reference/pagination
	"fintoc": {
		CreatedAt: "created_at", Cursor: "starting_after",
		Page: func(items []any, next string) simulator.Reply {
			reply := page(items)
			if next != "" {
				reply.Header = map[string]string{"Link": "<" + next + `>; rel="next"`}
			}
			return reply
		},
	},
	// https://docs.cloud.coinbase.com/commerce/docs/pagination
	"coinbase-commerce": {
		Within: "data", CreatedAt: "created_at", Cursor: "starting_after",
		Page: func(items []any, next string) simulator.Reply {
			pagination := map[string]any{"order": "desc", "next_uri": nil}
			if next != "" {
				pagination["next_uri"] = next
			}
			return page(map[string]any{"pagination": pagination, "data": items})
		},
	},
}

func page(body any) simulator.Reply { return simulator.Reply{Code: http.StatusOK, Body: body} }

// link returns a link of Mollie's; nil for none.
func link(target string) any {
	if target == "" {
		return nil
	}
	return map[string]any{"href": target, "type": "application/hal+json"}
}
