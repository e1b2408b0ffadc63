package artifacts_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

// proxy stands between a client and its server, counts what goes through, and does things at certain bytes.
type proxy struct {
	url      string
	network  string
	server   string
	listener net.Listener
	up, down direction
	mutex    sync.Mutex
	open     map[net.Conn]bool
}

// direction is one of the two ways that bytes go.
type direction struct {
	bytes atomic.Int64
	// Called by the bytes that go through before they are passed on; false ends all connections.
	mutex sync.Mutex
	pass  func(total int64, data []byte) bool
}

// set has pass decide on what goes through from now on, counted from 0.
func (d *direction) set(pass func(total int64, data []byte) bool) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.bytes.Store(0)
	d.pass = pass
}

func (d *direction) let(data []byte) bool {
	d.mutex.Lock()
	pass := d.pass
	total := d.bytes.Add(int64(len(data)))
	d.mutex.Unlock()
	return pass == nil || pass(total, data)
}

// at calls do once, when so many bytes came by, and ends all connections if it says false.
func (d *direction) at(bytes int64, do func() bool) {
	var done atomic.Bool
	d.set(func(total int64, _ []byte) bool { return total < bytes || !done.CompareAndSwap(false, true) || do() })
}

// cut is what ends all connections.
func cut() bool { return false }

// replace changes the first bytes `from` that come by into `to`, so many times.
func (d *direction) replace(from, to string, times int) {
	d.set(func(_ int64, data []byte) bool {
		if i := bytes.Index(data, []byte(from)); i >= 0 && times > 0 {
			times--
			copy(data[i:], to)
		}
		return true
	})
}

func startProxy(t testing.TB, s *server) *proxy {
	t.Helper()
	dir := shortDir(t)
	path := filepath.Join(dir, "p.sock")
	listener, err := net.Listen("unix", path)
	if err = errors.Join(err, os.Chmod(dir, 0o755), os.Chmod(path, 0o777)); err != nil {
		t.Fatal(err)
	}
	p := &proxy{
		url: "unix://" + path, network: "unix", server: strings.TrimPrefix(s.url, "unix://"), listener: listener, open: map[net.Conn]bool{},
	}
	go p.accept()
	t.Cleanup(func() {
		listener.Close()
		p.cut()
	})
	return p
}

func (p *proxy) client(t testing.TB, options ...artifacts.ClientOption) *artifacts.Client {
	t.Helper()
	return clientOf(t, &server{url: p.url}, options...)
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial(p.network, p.server)
		if err != nil {
			client.Close()
			continue
		}
		p.mutex.Lock()
		p.open[client], p.open[server] = true, true
		p.mutex.Unlock()
		go p.copy(server, client, &p.up)
		go p.copy(client, server, &p.down)
	}
}

func (p *proxy) copy(to, from net.Conn, d *direction) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !d.let(buffer[:n]) {
			p.cut()
			return
		}
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for conn := range p.open {
		conn.Close()
	}
	clear(p.open)
}
