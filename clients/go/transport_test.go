package artifacts_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

const token = "a-token-for-tests"

// roundTrip uploads and downloads a little.
func roundTrip(t *testing.T, c *artifacts.Client) {
	t.Helper()
	dir, out := writeTree(t, 3<<20), t.TempDir()
	u, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath("x"), artifacts.WithTag("t"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.Download(testContext(t), artifacts.Tag("t"), artifacts.WithArtifactPath("x"), artifacts.WithLocalPath(out))
	if err != nil || d.Run != u.Run || d.Commit != 1 || d.Files != u.Files || d.Bytes != u.Bytes {
		t.Fatalf("%+v, %v", d, err)
	}
	sameTree(t, dir, out)
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	roundTrip(t, newClient(t))
}

func TestTCPWithAToken(t *testing.T) {
	t.Parallel()
	s := startServerWith(t, []string{"DSTACK_ARTIFACTS_TOKEN=" + token}, "http://127.0.0.1:0")
	roundTrip(t, clientOf(t, s, artifacts.WithToken(token)))
	for given, reason := range map[string]artifacts.Reason{"": artifacts.ReasonTokenMissing, "another": artifacts.ReasonTokenInvalid} {
		c := clientOf(t, s, artifacts.WithToken(given))
		_, err := c.Upload(testContext(t), t.TempDir(), artifacts.WithArtifactPath(""))
		if _, ok := errors.AsType[*artifacts.ArtifactsUploadError](err); !ok || !errors.Is(err, reason) || !errors.Is(err, os.ErrPermission) {
			t.Errorf("token %q: %T: %v", given, err, err)
		}
		if err != nil && given != "" && strings.Contains(err.Error(), given) {
			t.Errorf("%v tells the token", err)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool := makeCertificate(t, cert, key)
	s := startServerWith(t, []string{"DSTACK_ARTIFACTS_TOKEN=" + token}, "https://127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	roundTrip(t, clientOf(t, s, artifacts.WithToken(token), artifacts.WithTLSConfig(&tls.Config{RootCAs: pool})))

	_, err := clientOf(t, s, artifacts.WithToken(token)).Runs(testContext(t))
	if err == nil || !strings.Contains(err.Error(), "no secure connection") || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
}

func makeCertificate(t testing.TB, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	write(t, certFile, certPEM)
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyBytes}))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for url, ok := range map[string]bool{
		"unix:///a/b": true, "http://localhost:1": true, "https://example.org": true, "http://[::1]:80/": true,
		"": false, "unix://a/b": false, "unix:a": false, "ftp://a": false, "http://": false, "http://a/b": false, "a:1": false, "http://a b": false,
	} {
		c, err := artifacts.NewClient(artifacts.WithURL(url))
		if (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
		if err == nil {
			c.Close()
		} else if _, is := errors.AsType[*artifacts.DstackError](err); !is {
			t.Errorf("%q: %T", url, err)
		}
	}
	if _, err := artifacts.NewClient(artifacts.WithProject("a/b")); !errors.Is(err, artifacts.ReasonNameInvalid) {
		t.Errorf("%v", err)
	}
}

func TestTheDefaultClientIsMadeFromTheEnvironment(t *testing.T) {
	s := sharedServer(t)
	t.Setenv("DSTACK_ARTIFACTS_URL", s.url)
	project := newProject()
	t.Setenv("DSTACK_PROJECT", project)
	t.Setenv("RUN_NAME", "from-environment")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), []byte("x"))
	u, err := artifacts.Upload(testContext(t), dir, artifacts.WithArtifactPath(""))
	if err != nil || u.Project != project || u.Run != "from-environment" {
		t.Fatalf("%+v, %v", u, err)
	}
	t.Setenv("DSTACK_RUN_NAME", "another")
	if u, err = artifacts.Upload(testContext(t), dir, artifacts.WithArtifactPath("")); err != nil || u.Run != "another" {
		t.Fatalf("%+v, %v", u, err)
	}
	t.Setenv("DSTACK_ARTIFACTS_URL", "nonsense")
	if _, err = artifacts.Download(testContext(t), artifacts.Run("another")); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("%v", err)
	}
	// The socket of a server that nobody told where to listen.
	t.Setenv("DSTACK_ARTIFACTS_URL", "")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/none")
	if _, err = artifacts.Runs(testContext(t)); err == nil || !strings.Contains(err.Error(), "unix:///run/user/none/dstack-artifacts/server.sock") {
		t.Errorf("%v", err)
	}
}
