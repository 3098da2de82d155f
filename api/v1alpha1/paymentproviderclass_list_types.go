// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ListOrder is the order of the sessions in a provider's list.
//
// +kubebuilder:validation:Enum=NewestFirst;OldestFirst;None
type ListOrder string

const (
	// ListNewestFirst lists the sessions that were created last first. A listing
	// ends at the second page in a row that goes back far enough, and fails at a
	// session that is more than a minute newer than one before it.
	ListNewestFirst ListOrder = "NewestFirst"
	// ListOldestFirst lists the sessions in the order of their creation. A
	// listing reads to the last page.
	ListOldestFirst ListOrder = "OldestFirst"
	// ListUnordered lists the sessions in no order that counts. A listing reads
	// to the last page.
	ListUnordered ListOrder = "None"
)

// ListParameter is a parameter in the query of a list call.
type ListParameter struct {
	// name of the parameter.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._\[\]-]+$`
	// +required
	Name string `json:"name"`

	// value is a CEL expression over since and until, the timestamps between
	// which sessions are listed, that returns the parameter's value as a string.
	//
	// +required
	Value Expression `json:"value"`
}

// PageSize is the parameter for the number of items in a page.
type PageSize struct {
	// parameter is the name of the query parameter.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._\[\]-]+$`
	// +required
	Parameter string `json:"parameter"`

	// size is the number of items to ask for. Choose it so that a page stays
	// well below 1 MiB: a larger one is not read. A provider may send fewer.
	//
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +required
	Size int32 `json:"size"`
}

// OffsetPagination asks for a page by the number of items before it.
type OffsetPagination struct {
	// parameter is the name of the query parameter.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._\[\]-]+$`
	// +required
	Parameter string `json:"parameter"`
}

// PagePagination asks for a page by its number.
type PagePagination struct {
	// parameter is the name of the query parameter.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._\[\]-]+$`
	// +required
	Parameter string `json:"parameter"`

	// first is the number of the first page: 0 or 1. Defaults to 1.
	//
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	// +optional
	First int32 `json:"first"`
}

// CursorPagination asks for a page by a cursor from the page before it.
type CursorPagination struct {
	// parameter is the name of the query parameter.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._\[\]-]+$`
	// +required
	Parameter string `json:"parameter"`

	// next is a CEL expression over code, headers, body, now and items that
	// returns the cursor of the next page as a string. An empty one, or null,
	// ends the list. A page for which it fails ends the listing, as incomplete.
	//
	// +required
	Next Expression `json:"next"`
}

// URLPagination follows a URL in the page. Its query is used, and nothing else
// of it: the next call goes to the same scheme, host and path.
type URLPagination struct {
	// next is a CEL expression over code, headers, body, now and items that
	// returns the URL of the next page as a string. An empty one, or null, ends
	// the list. A page for which it fails ends the listing, as incomplete.
	//
	// +required
	Next Expression `json:"next"`
}

// LinkPagination follows the Link header of the page (RFC 8288) with the
// relation next. Its query is used, and nothing else of it.
type LinkPagination struct{}

// NoPagination says that the list has one page.
type NoPagination struct{}

// Pagination says how the next page is asked for. Exactly one field must be
// set.
//
// +kubebuilder:validation:ExactlyOneOf=offset;page;cursor;url;link;none
type Pagination struct {
	// offset asks for a page by the number of items before it.
	//
	// +optional
	Offset *OffsetPagination `json:"offset,omitempty"`

	// page asks for a page by its number.
	//
	// +optional
	Page *PagePagination `json:"page,omitempty"`

	// cursor asks for a page by a cursor from the page before it.
	//
	// +optional
	Cursor *CursorPagination `json:"cursor,omitempty"`

	// url follows a URL in the page.
	//
	// +optional
	URL *URLPagination `json:"url,omitempty"`

	// link follows the Link header of the page.
	//
	// +optional
	Link *LinkPagination `json:"link,omitempty"`

	// none says that the list has one page.
	//
	// +optional
	None *NoPagination `json:"none,omitempty"`
}

// ListItem says how an item of a list is read.
type ListItem struct {
	// as is a CEL expression over item that returns the item in the shape of a
	// reply to observe, so that state and identity of the class can read it.
	//
	// +required
	As Expression `json:"as"`

	// id is a CEL expression over item that returns the session's id as a
	// string.
	//
	// +required
	ID Expression `json:"id"`

	// createdAt is a CEL expression over item that returns the time of the
	// session's creation, as a timestamp or an RFC 3339 string.
	//
	// +required
	CreatedAt Expression `json:"createdAt"`
}

// ListTemplate is the call that lists the sessions of an account. It must be
// repeatable, and must not change anything.
type ListTemplate struct {
	// path of the request below the base URL.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^(/[A-Za-z0-9._~!:@-]+)+$`
	// +required
	Path string `json:"path"`

	// query parameters of each page's request.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Query []ListParameter `json:"query,omitempty"`

	// headers are sent with each page's request, in addition to spec.headers.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Headers []Header `json:"headers,omitempty"`

	// contentType is sent although the request has no body, where a provider
	// wants that.
	//
	// +kubebuilder:validation:MaxLength=127
	// +kubebuilder:validation:Pattern=`^[a-z]+/[A-Za-z0-9.+-]+(; ?charset=[A-Za-z0-9-]+)?$`
	// +optional
	ContentType string `json:"contentType,omitempty"`

	// order of the sessions: NewestFirst, OldestFirst or None.
	//
	// +required
	Order ListOrder `json:"order"`

	// pageSize asks for a number of items. If unset, the provider decides.
	//
	// +optional
	PageSize *PageSize `json:"pageSize,omitempty"`

	// pagination says how the next page is asked for.
	//
	// +required
	Pagination Pagination `json:"pagination"`

	// more is a CEL condition over code, headers, body, now and items that says
	// whether another page follows. If unset, or if it fails, pages are read
	// until one is empty: a provider may send fewer items than it is asked for,
	// so that a short page is not the last one. Without items a page ends the
	// list only if more does not say that another one follows.
	//
	// +optional
	More Expression `json:"more,omitempty"`

	// items is a CEL expression over code, headers, body and now that returns
	// the items of a page as a list.
	//
	// +required
	Items Expression `json:"items"`

	// item says how an item is read.
	//
	// +required
	Item ListItem `json:"item"`

	// select is a CEL condition over item that says whether it is a session of
	// this class. If unset, every item is. An item for which it fails is one.
	//
	// +optional
	Select Expression `json:"select,omitempty"`

	// lag is how late a new session may appear in the list, from 0s to 1h.
	// Defaults to 30s.
	//
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('1h')",message="lag must be a duration from 0s to 1h, such as 30s"
	// +optional
	Lag *metav1.Duration `json:"lag,omitempty"`
}
