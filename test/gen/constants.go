// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package gen

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
)

// Constants returns the values of the API's string constants of a kind: those whose type has the name, or those in the
// block whose comment contains it. It panics if the API cannot be parsed.
func Constants[T ~string](kind string) []T {
	var values []T
	files, err := filepath.Glob(filepath.Join(Root(), "api", "v1alpha1", "*.go"))
	if err != nil {
		panic(err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			panic(err)
		}
		for _, declared := range file.Decls {
			if block, ok := declared.(*ast.GenDecl); ok && block.Tok == token.CONST {
				values = append(values, constantsOf[T](block, kind)...)
			}
		}
	}
	return values
}

func constantsOf[T ~string](block *ast.GenDecl, kind string) []T {
	var values []T
	for _, spec := range block.Specs {
		constant, _ := spec.(*ast.ValueSpec)
		named, isNamed := constant.Type.(*ast.Ident)
		if !strings.Contains(block.Doc.Text(), kind) && (!isNamed || named.Name != kind) {
			continue
		}
		for _, value := range constant.Values {
			literal, _ := value.(*ast.BasicLit)
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				panic(err)
			}
			values = append(values, T(text))
		}
	}
	return values
}
