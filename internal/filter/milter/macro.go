package milter

import (
	"crypto/tls"
	"strings"

	"github.com/d--j/go-milter"
)

// setMacros gives what is known of the message before its recipients. A macro
// without a value is not sent.
func (s *session) setMacros() {
	client := ""
	if s.m.Client.IsValid() {
		client = s.m.Client.Unmap().WithZone("").String()
	}
	name := s.m.ClientName
	if name == "" && client != "" {
		name = "[" + client + "]"
	}
	who := ""
	if client != "" {
		who = name + " [" + client + "]"
	}
	mailer := "esmtp"
	if s.m.From.IsNull() {
		mailer = ""
	}
	version, cipher, bits := security(s.m.TLS)
	for macro, value := range map[milter.MacroName]string{
		milter.MacroMTAFQDN:         s.m.Hostname,
		milter.MacroMTAVersion:      "migiwa",
		milter.MacroDaemonName:      "migiwa",
		milter.MacroClientAddr:      client,
		milter.MacroClientName:      name,
		milter.MacroClientPTR:       name,
		milter.MacroRFC1413AuthInfo: who,
		milter.MacroTlsVersion:      version,
		milter.MacroCipher:          cipher,
		milter.MacroCipherBits:      bits,
		milter.MacroQueueId:         s.m.Trace,
		milter.MacroAuthAuthen:      s.m.Account,
		milter.MacroMailMailer:      mailer,
		milter.MacroMailHost:        string(s.m.From.Domain),
		milter.MacroMailAddr:        s.m.From.String(),
	} {
		if value != "" {
			s.macros.Set(macro, value)
		}
	}
}

// security gives version, cipher and its bits as sendmail writes them.
func security(t *tls.ConnectionState) (version, cipher, bits string) {
	if t == nil {
		return "", "", ""
	}
	cipher, bits = tls.CipherSuiteName(t.CipherSuite), "256"
	if strings.Contains(cipher, "_128_") {
		bits = "128"
	}
	return strings.ReplaceAll(tls.VersionName(t.Version), "TLS 1.", "TLSv1."), cipher, bits
}

// macroStages are those that sendmail's default configuration sends, and the
// client's address with the connection, which Postfix does.
func macroStages() []milter.Option {
	return []milter.Option{
		milter.WithoutDefaultMacros(),
		milter.WithMacroRequest(milter.StageConnect, []milter.MacroName{milter.MacroMTAFQDN, milter.MacroRFC1413AuthInfo, milter.MacroDaemonName,
			milter.MacroMTAVersion, milter.MacroClientAddr, milter.MacroClientName, milter.MacroClientPTR}),
		milter.WithMacroRequest(milter.StageHelo, []milter.MacroName{milter.MacroTlsVersion, milter.MacroCipher, milter.MacroCipherBits}),
		milter.WithMacroRequest(milter.StageMail, []milter.MacroName{milter.MacroQueueId, milter.MacroAuthAuthen, milter.MacroMailMailer,
			milter.MacroMailHost, milter.MacroMailAddr}),
		milter.WithMacroRequest(milter.StageRcpt, []milter.MacroName{milter.MacroRcptMailer, milter.MacroRcptHost, milter.MacroRcptAddr}),
		milter.WithMacroRequest(milter.StageEOM, []milter.MacroName{milter.MacroQueueId}),
	}
}
