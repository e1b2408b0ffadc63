// Command go is a service that gives its artifacts to another one and takes the other's, without touching the disk. See ../README.md.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	// The environment says where its own server is.
	client, err := artifacts.NewClient()
	if err != nil {
		log.Fatal(err)
	}
	s := &service{client: client, other: os.Getenv("OTHER")}
	paths := http.NewServeMux()
	paths.HandleFunc("GET /{tag}/{path...}", s.give)
	paths.HandleFunc("POST /{tag}/{path...}", s.take)
	fmt.Printf("listening on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, paths))
}

type service struct {
	client *artifacts.Client
	other  string
}

// give sends a file as it comes out of the store.
func (s *service) give(w http.ResponseWriter, r *http.Request) {
	file, err := s.client.Open(r.Context(), artifacts.Tag(r.PathValue("tag")), r.PathValue("path"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer file.Close()
	w.Header().Set("Content-Length", fmt.Sprint(file.Entry().Size))
	if _, err := file.WriteTo(w); err != nil {
		log.Print(err)
		// The status is sent already: only a broken connection tells the other end that this is not all.
		panic(http.ErrAbortHandler)
	}
}

// take uploads a file of the other service while it comes.
func (s *service) take(w http.ResponseWriter, r *http.Request) {
	from, err := url.JoinPath(s.other, url.PathEscape(r.PathValue("tag")), (&url.URL{Path: r.PathValue("path")}).EscapedPath())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, from, nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		http.Error(w, "the other service: "+response.Status, http.StatusBadGateway)
		return
	}
	uploaded, err := s.client.UploadReader(r.Context(), r.PathValue("path"), response.Body, artifacts.WithTag(r.FormValue("as")))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"run": uploaded.Run, "tag": uploaded.Tag, "bytes": uploaded.Bytes})
}
