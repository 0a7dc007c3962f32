// Package dnsbl is the filter "dnsbl": lists of addresses and domains that are
// kept by others and asked through the DNS (RFC 5782), as labels.
//
// An address is asked for with its octets, or its nibbles for IPv6, reversed
// before the zone (RFC 5782, 2.1 and 2.4); a domain as it is (2.6). An answer in
// 127.0.0.0/8 says that it is listed, and its last octets say why. Not an
// answer to the question are, and are never taken for a listing:
//
//   - 127.255.255.0/24 and 127.0.0.1: the list refuses to answer us, because we
//     ask too much, through a public resolver, or without a right to;
//   - anything outside 127.0.0.0/8: the zone is no list any more. Domains of
//     lists that gave up are bought and answer every name.
//
// A list that began to list the whole world has more than once stopped the mail
// of those who used it. So each zone is tried every ten minutes with what no
// list may hold, 127.0.0.1 or the name "invalid" (RFC 5782, 5). A zone that
// fails the trial, refuses or does not answer is off, which is an error of the
// filter on each message, until a later trial finds it well.
//
// Nothing is told to the lists but addresses and domains. The address of an
// authenticated sender, and addresses of private networks, are never asked for.
package dnsbl
