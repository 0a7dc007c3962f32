package sasl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/edge"
)

// FuzzRun sends arbitrary responses to every mechanism. Nobody may get in whom
// Verify did not let in, and every failure says of which kind it is.
func FuzzRun(f *testing.F) {
	f.Add(uint8(0), "\x00taro\x00secret", "", "")
	f.Add(uint8(1), "taro", "secret", "")
	f.Add(uint8(2), "n,,n=taro,r=fyko+d2lbbFgONRv9qkxdawL", "c=biws,r=x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "")
	f.Add(uint8(2), "n,a=taro,n=ta=2Cro,r=x", "c=biws", "")
	f.Add(uint8(3), "p=tls-exporter,,n=taro,r=x", "c=cD10,r=x,p=AA==", "")
	names := []string{Plain, Login, ScramSHA256, ScramSHA256Plus}
	f.Fuzz(func(t *testing.T, which uint8, a, b, c string) {
		let := ""
		s := &Server{
			Secret: []byte("0123456789abcdef"),
			Verify: func(_ context.Context, user, password string) (string, error) {
				if user == "" || password == "" || strings.Contains(user+password, "\x00") {
					t.Fatalf("asked for %q, %q", user, password)
				}
				if password == "secret" {
					let = user
					return user, nil
				}
				return "", fmt.Errorf("no: %w", ErrDenied)
			},
			Scram: func(_ context.Context, user string) (Keys, error) {
				if user == "taro" {
					return Keys{Account: "taro", Iterations: 4096, Salt: make([]byte, SaltSize), StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)}, nil
				}
				return Keys{}, ErrDenied
			},
		}
		left := []string{b, c}
		ex := func([]byte) ([]byte, error) {
			if len(left) == 0 {
				return nil, ErrCancelled
			}
			r := left[0]
			left = left[1:]
			return []byte(r), nil
		}
		who, err := s.Run(t.Context(), edge.Client{}, names[int(which)%len(names)], []byte(a), ex, &tls.ConnectionState{})
		if who != let {
			t.Fatalf("%q got in, %q was let in", who, let)
		}
		if err == nil && who == "" {
			t.Fatal("nobody got in")
		}
		known := errors.Is(err, ErrDenied) || errors.Is(err, ErrMalformed) || errors.Is(err, ErrCancelled) || errors.Is(err, ErrMechanism)
		if err != nil && !known {
			t.Fatal(err)
		}
	})
}
