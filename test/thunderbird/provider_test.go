package thunderbird

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/migiwa/migiwa/test/site"
)

// provider stands for the web: as Thunderbird's HTTP proxy it is every host,
// and knows the page of the site's domain that says how to set up an account.
type provider struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func newProvider(t testing.TB, s *site.Site) *provider {
	p := &provider{}
	page := fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
 <emailProvider id="%[1]s">
  <domain>%[1]s</domain>
  <displayName>migiwa</displayName>
  <displayShortName>migiwa</displayShortName>
  <incomingServer type="imap">
   <hostname>localhost.%[1]s</hostname><port>%[2]s</port><socketType>SSL</socketType>
   <username>%%EMAILADDRESS%%</username><authentication>password-cleartext</authentication>
  </incomingServer>
  <outgoingServer type="smtp">
   <hostname>localhost.%[1]s</hostname><port>%[3]s</port><socketType>SSL</socketType>
   <username>%%EMAILADDRESS%%</username><authentication>password-cleartext</authentication>
  </outgoingServer>
 </emailProvider>
</clientConfig>
`, site.Domain, port(s.Addr(993)), port(s.Addr(465)))
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked = append(p.asked, r.URL.String())
		p.mu.Unlock()
		if r.URL.Host != "autoconfig."+site.Domain || r.URL.Path != "/mail/config-v1.1.xml" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprint(w, page)
	}))
	t.Cleanup(p.Close)
	return p
}

// requests gives what was asked for.
func (p *provider) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr) // the site's own
	return port
}
