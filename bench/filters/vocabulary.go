package main

import "strings"

// timeless are ways to write a link that no honest sender of any year needs.
var timeless = words(`bare-address user-name-before-the-host escaped-host shows-another-host port`)

// dated are words that tell when or where the training mail was written.
var dated = words(`
january february march april may june july august september october november december
jan feb mar apr jun jul aug sep sept oct nov dec
monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun
gmt edt est pdt pst bst ist cest
http https www html htm php asp cgi mailto href nbsp example reader
spamassassin razor sourceforge exmh ilug irish ireland dublin zdnet cnet lockergnome spambayes taint fork rpm
freshrpms redhat debian yahoo hotmail aol msn netscape outlook geek thinkgeek slashdot yahoogroups egroups
bush iraq enron saddam palm pda cdrom floppy modem dial
`)

// trade are words of honest advertising, receipts and newsletters, which are
// rare in the wanted mail of the training set and are in half of the wanted mail of
// today. They may speak for a message, never against it.
var trade = words(`
unsubscribe unsubscribed subscribe subscribed subscriber subscribers subscription subscriptions newsletter newsletters mailing
mailings optout opt preferences privacy policy terms conditions copyright rights reserved trademark trademarks inc llc ltd corp
browser view viewing trouble display images click clicking here below link links visit website site web online internet page
email emails mail address addresses list lists remove removed removal receive received receiving recipient sent send
sender reply contact contacts questions customer customers service services support team help thank thanks
account accounts update updates updated information info confirm confirmation confirmed verify verified login password
register registered registration member members membership join sign signup started
order orders ordered ordering shipping shipped ship delivery delivered tracking purchase purchased purchases buy
buying shop shopping store stores cart checkout product products item items price prices priced pricing sale sales save
saving savings discount discounts discounted deal deals offer offers offered offering special specials promotion promotions
promotional promo coupon coupons code free gift gifts bonus reward rewards win exclusive limited today now hurry
expires expire ends new best top popular favorite brand quality value guaranteed guarantee
invoice invoices receipt payment payments paid pay billing bill bills charge charged charges credit card cards
bank balance transfer fee fees cost costs amount total money cash dollar dollars refund return returns
company companies business businesses partner partners advertising advertisement advertisements advertise marketing sponsor
sponsored advertiser advertisers program programs event events webinar invite invited invitation learn discover explore upgrade
download trial demo feature features plan plans premium home family travel hotel flight book booking reservation tickets
ticket health insurance career job jobs opportunity simply easy easily simple fast instant instantly quick quickly
week weekly month monthly daily days hours year annual phone call toll fax mobile street suite avenue road box
states united canada usa your you our dear hello valued friend please request requested notice notification important alert
mortgage mortgages loan loans refinance refinancing rate rates lender lenders debt debts income invest investing investment investments
investor investors retirement prescription prescriptions pharmacy medication homeowner homeowners fund funds stock stocks commission
anywhere anytime everywhere obligation lowest lower low high higher licensed license consolidate consolidation within visa mastercard
paypal amex supplies supply last valid void prohibited eligible eligibility qualify qualified qualifies approved approval apply applied
application applications liability disclaimer earn earned earning earnings satisfied satisfaction warranty warranties risk risks
commitment commit consult doctor licensed regulated regulations federal law laws tax taxes deductible percent annually worth
valued customers subscribers recipients recipient inbox spam filter folder add contacts safe whitelist message messages sender
exclusively selected specially delivered deliver delivers ships returns exchange exchanges size sizes color colors fit style styles
compare comparison quote quotes estimate premium deluxe ultimate professional professionals amazing incredible fantastic great
wonderful perfect ideal enjoy love beautiful luxury designer fashion watch watches jewelry shoes clothing fitness diet weight
vitamin vitamins natural organic skin beauty hair energy power vacation vacations cruise resort hotels nights flights airline
airlines miles points redeem claim entry enter winner winners prize prizes sweepstakes contest raffle draw lottery
tonight midnight deadline remaining hurry final chance reminder missed waiting ready approved congratulations welcome
degree degrees university college course courses training certificate diploma student students education
software windows computer computers printer printers ink toner cartridge cartridges phone phones wireless unlimited internet
satellite channels movies music games casino bet betting poker play player players
revenue campaign campaigns leads expert experts success successful increase reduce double hundreds thousands millions minutes never absolutely
security secure privacy protected access available choose choice select selected includes include including
`)

func words(text string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(text) {
		out[strings.ReplaceAll(w, "-", " ")] = true
	}
	return out
}

func commercial(token string) bool { return trade[strings.TrimPrefix(token, "subject:")] }
