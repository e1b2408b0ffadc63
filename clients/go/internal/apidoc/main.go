// Command apidoc writes the reference part of docs/go.md from the comments of the client's package. It fails if a public name has none, or if
// what returns an error doesn't say which. With --check it writes nothing and fails if docs/go.md is not what it would write.
//
// It is run from the repository's root.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	packageDir = "clients/go"
	importPath = "github.com/dstackai/dstack-artifacts/clients/go"
	document   = "docs/go.md"
	// The reference is everything behind this line.
	begin = "## Reference\n\nMade from the package's comments by `go run ./clients/go/internal/apidoc`.\n"
)

func main() {
	if err := run(slices.Contains(os.Args[1:], "--check")); err != nil {
		fmt.Fprintf(os.Stderr, "apidoc: %v\n", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	reference, err := makeReference()
	if err != nil {
		return err
	}
	now, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	head, _, ok := bytes.Cut(now, []byte(begin))
	if !ok {
		return fmt.Errorf("%s has no reference part", document)
	}
	want := slices.Concat(head, []byte(begin), reference)
	if bytes.Equal(now, want) {
		return nil
	}
	if check {
		return fmt.Errorf("%s is not current: run go run ./clients/go/internal/apidoc", document)
	}
	return os.WriteFile(document, want, 0o644)
}

func makeReference() ([]byte, error) {
	files := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join(packageDir, "*.go"))
	if err != nil {
		return nil, err
	}
	var parsed []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, file)
	}
	p, err := doc.NewFromFiles(files, parsed, importPath)
	if err != nil {
		return nil, err
	}
	w := &writer{pkg: p, files: files}
	w.text(p.Doc)
	for _, v := range slices.Concat(p.Consts, p.Vars) {
		w.value(v)
	}
	for _, f := range p.Funcs {
		w.function(f)
	}
	for _, t := range p.Types {
		w.typ(t)
	}
	return w.out.Bytes(), errors.Join(w.problems...)
}

// writer puts down one declaration after the other.
type writer struct {
	pkg      *doc.Package
	files    *token.FileSet
	out      bytes.Buffer
	problems []error
}

func (w *writer) typ(t *doc.Type) {
	w.heading(t.Name)
	w.declaration(t.Decl)
	w.documented(t.Name, t.Doc)
	w.fields(t)
	for _, v := range slices.Concat(t.Consts, t.Vars) {
		w.value(v)
	}
	for _, f := range slices.Concat(t.Funcs, t.Methods) {
		w.function(f)
	}
}

// fields checks that every public field of a struct says what it is.
func (w *writer) fields(t *doc.Type) {
	for _, spec := range t.Decl.Specs {
		s, ok := spec.(*ast.TypeSpec).Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, field := range s.Fields.List {
			for _, name := range field.Names {
				if name.IsExported() && field.Doc.Text() == "" {
					w.problems = append(w.problems, fmt.Errorf("%s.%s has no comment", t.Name, name.Name))
				}
			}
		}
	}
}

func (w *writer) function(f *doc.Func) {
	name := f.Name
	if f.Recv != "" {
		name = strings.TrimPrefix(f.Recv, "*") + "." + f.Name
	}
	w.heading(name)
	f.Decl.Body = nil
	w.declaration(f.Decl)
	w.documented(name, f.Doc)
	if saysErrors := strings.Contains(strings.ToLower(f.Doc), "error"); returnsError(f.Decl) && !saysErrors && !refersToMethod(f) {
		w.problems = append(w.problems, fmt.Errorf("%s doesn't say which errors it returns", name))
	}
}

func returnsError(f *ast.FuncDecl) bool {
	if f.Type.Results == nil {
		return false
	}
	return slices.ContainsFunc(f.Type.Results.List, func(result *ast.Field) bool {
		name, ok := result.Type.(*ast.Ident)
		return ok && name.Name == "error"
	})
}

// refersToMethod says whether a function of the default client refers to the method that says all.
func refersToMethod(f *doc.Func) bool {
	return f.Recv == "" && strings.HasPrefix(f.Doc, f.Name+" is [Client."+f.Name+"]")
}

func (w *writer) value(v *doc.Value) {
	w.declaration(v.Decl)
	if v.Doc != "" {
		w.text(v.Doc)
		return
	}
	for _, spec := range v.Decl.Specs {
		if s, ok := spec.(*ast.ValueSpec); ok && s.Doc.Text() == "" {
			w.problems = append(w.problems, fmt.Errorf("%s has no comment", s.Names[0].Name))
		}
	}
}

func (w *writer) heading(name string) { fmt.Fprintf(&w.out, "\n### %s\n", name) }

func (w *writer) declaration(node ast.Node) {
	w.out.WriteString("\n```go\n")
	if err := format.Node(&w.out, w.files, withoutDoc(node)); err != nil {
		w.problems = append(w.problems, err)
	}
	w.out.WriteString("\n```\n")
}

// withoutDoc leaves out the comment above a declaration, which follows it as text.
func withoutDoc(node ast.Node) ast.Node {
	switch d := node.(type) {
	case *ast.FuncDecl:
		c := *d
		c.Doc = nil
		return &c
	case *ast.GenDecl:
		c := *d
		c.Doc = nil
		return &c
	}
	return node
}

func (w *writer) documented(name, text string) {
	if strings.TrimSpace(text) == "" {
		w.problems = append(w.problems, fmt.Errorf("%s has no comment", name))
	}
	w.text(text)
}

func (w *writer) text(text string) {
	printer := w.pkg.Printer()
	printer.DocLinkURL = w.link
	w.out.WriteString("\n")
	w.out.WriteString(unescape.Replace(string(printer.Markdown(w.pkg.Parser().Parse(text)))))
}

// unescape lets through what the comments mean as Markdown does.
var unescape = strings.NewReplacer("\\`", "`", "\\_", "_")

// link gives the anchor that Markdown gives to a name's heading; constants have that of their type.
func (w *writer) link(l *comment.DocLink) string {
	if l.ImportPath != "" {
		return l.DefaultURL("https://pkg.go.dev")
	}
	name := l.Name
	for _, t := range w.pkg.Types {
		for _, v := range t.Consts {
			if slices.Contains(v.Names, name) {
				name = t.Name
			}
		}
	}
	return "#" + strings.ToLower(l.Recv+name)
}
