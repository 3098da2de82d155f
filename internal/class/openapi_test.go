// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"strings"
	"testing"
)

const fifthAPI = `
openapi: 3.0.3
servers: [{url: https://api.fifth.example/v2}]
paths:
  /invoices/{number}:
    get:
      responses:
        200:
          description: The invoice.
          content:
            application/json:
              examples:
                open: {value: {invoice: {number: INV-7777, state: OPEN}}}
                settled: {value: {invoice: {number: INV-7777, state: SETTLED}}}
        404: {$ref: '#/components/responses/Unknown'}
  /invoices/{number}/void:
    post:
      responses:
        "200":
          content:
            application/json:
              schema: {example: {invoice: {number: INV-7777, state: VOID}}}
        "204": {description: Nothing to say}
        default: {description: Anything}
components:
  responses:
    Unknown:
      description: It does not exist.
      content:
        application/json: {example: {fault: {code: NO_SUCH_INVOICE}}}
`

// TestFromOpenAPI takes the examples of a document, whose paths have a part in the server's URL. They pass as they are,
// because they say what the class makes of them.
func TestFromOpenAPI(t *testing.T) {
	made, err := FromOpenAPI(read(t, "testdata/fifth.yaml"), []byte(fifthAPI))
	if err != nil {
		t.Fatal(err)
	}
	report, findings := tested(t, as, string(made))
	if report == nil || report.Failed() > 0 || len(report.Rows) != 5 {
		t.Fatalf("%v, %+v\n%s", findings, report, made)
	}
	var rows []string
	for _, row := range report.Rows {
		rows = append(rows, row.Name+" "+string(row.Outcome)+" "+string(row.State))
	}
	want := `expire: 200 OK Accepted expired
expire: 204 Nothing to say Accepted 
observe: 200 The invoice. open Accepted active
observe: 200 The invoice. settled Accepted completed
observe: 404 It does not exist. NotFound `
	if got := strings.Join(rows, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWrongOpenAPI(t *testing.T) {
	for reason, tc := range map[string]struct{ text, want string }{
		"no YAML":           {"a: b: c", "no YAML or JSON"},
		"without the calls": {`paths: {/orders: {get: {}}}`, "has no POST /v2/invoices/{id}/void and no GET /v2/invoices/{id}"},
		"without examples":  {`paths: {"/invoices/{id}": {get: {}}, "/invoices/{id}/void": {post: {}}}`, "no examples"},
	} {
		if _, err := FromOpenAPI(read(t, "testdata/fifth.yaml"), []byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", reason, err, tc.want)
		}
	}
}
