package learned

// Constants of the verdict, found by cross-validation on the training half.
const (
	siteScale = 1.0 // log odds for one unit of the site's weights
	limit     = 5.0 // log odds that are never passed: 0.993

	priorMails   = 1.0  // how many taught mails the site's rates are worth
	unknownRate  = 0.02 // of a word that the site does not know, in either class
	shapeRate    = 0.2  // likewise of header, structure and link shapes
	maxOwn       = 4.0  // cap of one token's own log odds
	minOwn       = 1.0  // what is nearer to 0 says nothing
	ownTokens    = 150  // strongest own tokens that count
	ownScale     = 0.9
	ownNorm      = 10.0
	ownPow       = 0.8
	balancedHalf = 100.0 // taught mails, as many of each class, at which the own counts have half their weight
	rho          = 0.6   // share of the site's weight that goes as the own grows

	normC   = 10.0
	normN   = 20.0
	normPow = 0.5
)
