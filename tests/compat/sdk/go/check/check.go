// Package check runs the steps of one SDK's test and reports each of them on a line of its own.
package check

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
)

// What the test gives: where the server listens, and as whom to speak to it.
var (
	Endpoint     = os.Getenv("SDK_ENDPOINT")
	SlowEndpoint = os.Getenv("SDK_SLOW_ENDPOINT")
	Bucket       = os.Getenv("SDK_BUCKET")
	AccessKey    = os.Getenv("SDK_ACCESS_KEY")
	SecretKey    = os.Getenv("SDK_SECRET_KEY")
	Region       = os.Getenv("SDK_REGION")
)

// Sizes are those around which framings change, in bytes.
var Sizes = []int{0, 1, 4096, 65535, 65536, 65537, 131071, 131072, 131073, 1 << 20, 5<<20 + 1}

// Keys hold what is escaped in paths, in queries, in XML, or in none of them.
var Keys = []string{"plain", "a b", "a+b", "a%20b", "ä/ö/ü€", "𝄞", "q?x=1&y=2", "h#1", "<tag>&'\"", "a//b", "~!*'()", "semi;colon,=:@$", "back\\slash", "trailing/"}

var failed = false

// Step runs one step; one that fails does not end the others.
func Step(name string, run func() error) {
	if err := run(); err != nil {
		failed = true
		fmt.Printf("FAILED %s: %v\n", name, err)
		return
	}
	fmt.Printf("ok %s\n", name)
}

// Done ends the program.
func Done() {
	fmt.Println("done")
	if failed {
		os.Exit(1)
	}
}

// Value is content of that size, different at each size and without a period that a block could hide behind.
func Value(size int) []byte {
	out := make([]byte, size)
	state := uint32(size) + 1
	for i := range out {
		state = state*1664525 + 1013904223
		out[i] = byte(state >> 24)
	}
	return out
}

// Same compares what was read to the content that was written.
func Same(reader io.Reader, want []byte) error {
	got, err := io.ReadAll(reader)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("read %d bytes that differ from the %d written", len(got), len(want))
	}
	return nil
}

// Equal fails where the two differ.
func Equal[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s is %v, not %v", what, got, want)
	}
	return nil
}

// First is the first error of several.
func First(errors ...error) error {
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}

// Transport trusts the authority in SDK_CA, and no other where there is one.
func Transport() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if path := os.Getenv("SDK_CA"); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			panic("SDK_CA holds no certificate")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return transport
}

// Fetch sends a request as a browser would, with a URL that carries its signature.
func Fetch(method, url string, header http.Header, body []byte) ([]byte, error) {
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	reply, err := (&http.Client{Transport: Transport()}).Do(request)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	got, err := io.ReadAll(reply.Body)
	if err == nil && reply.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s: %s", method, reply.Status, got)
	}
	return got, err
}
