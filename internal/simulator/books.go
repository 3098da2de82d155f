// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"net/http"
)

// books serves the simulator's state, so that people and other processes can read and change it.
func (s *Simulator) books() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /objects", func(w http.ResponseWriter, _ *http.Request) {
		Reply{Code: 200, Body: s.Objects()}.send(w)
	})
	mux.HandleFunc("GET /calls", func(w http.ResponseWriter, _ *http.Request) {
		Reply{Code: 200, Body: s.Calls()}.send(w)
	})
	mux.HandleFunc("PUT /objects", func(w http.ResponseWriter, r *http.Request) {
		var object Object
		if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.Add(object)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /faults/{provider}/{id}", func(w http.ResponseWriter, r *http.Request) {
		var faults []Fault
		if err := json.NewDecoder(r.Body).Decode(&faults); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.Script(r.PathValue("provider"), r.PathValue("id"), faults...)
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}
