package artifacts

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
)

// socketName is the default socket's path below $XDG_RUNTIME_DIR.
const socketName = "dstack-artifacts/server.sock"

// address is where a server is, in grpc's terms.
type address struct {
	target string
	secure bool
}

// parseAddress understands unix:///path, http://host:port and https://host:port.
func parseAddress(text string) (address, error) {
	u, err := url.Parse(text)
	if err != nil {
		return address{}, failf("%q is no address of a server: %w", text, err)
	}
	port := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	switch {
	case u.Scheme == "unix" && u.Host == "" && filepath.IsAbs(u.Path):
		return address{target: "unix://" + u.EscapedPath()}, nil
	case port != "" && u.Hostname() != "" && (u.Path == "" || u.Path == "/"):
		if u.Port() != "" {
			port = u.Port()
		}
		return address{target: "dns:///" + net.JoinHostPort(u.Hostname(), port), secure: u.Scheme == "https"}, nil
	}
	return address{}, failf("%q is no address of a server: it must be unix:///path, http://host:port or https://host:port", text)
}

// defaultURL is the socket that `dstack-artifacts serve` listens on.
func defaultURL() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return (&url.URL{Scheme: "unix", Path: filepath.Join(dir, socketName)}).String()
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/"
	}
	return (&url.URL{Scheme: "unix", Path: filepath.Join(home, ".dstack/artifacts/server.sock")}).String()
}

// environmentRun is the run that the environment names for uploads; "" if none.
func environmentRun() string {
	if run := os.Getenv("DSTACK_RUN_NAME"); run != "" {
		return run
	}
	return os.Getenv("RUN_NAME")
}
