package learned

// Constants of the verdict, found by cross-validation on the training half.
const (
	limit       = 5.0  // log odds that are never passed: 0.993
	fewWords    = 15.0 // unknown words that every message is taken to have besides
	siteScale   = 1.5  // log odds for one unit of the site's weights
	fewTelling  = 4.0  // such tokens with no weight, which every message is taken to have besides
	smallWeight = 0.1  // from which a token counts as held against the message
	siteYields  = 0.6  // share of the site's weight that goes when the own counts have all of theirs

	priorMails   = 1.0  // how many taught mails the site's rates are worth
	unknownRate  = 0.02 // of a token that the site does not know, in either class
	minOwn       = 1.0  // log odds that one token must have to count
	maxOwn       = 4.0  // and that it is capped at
	maxShape     = 2.0  // likewise of what says how a message is made
	ownTokens    = 300  // the strongest that count
	ownEven      = 15.0 // tokens without odds that are averaged with them
	ownScale     = 5.5  // log odds of a message for one unit of that average
	balancedHalf = 80.0 // taught mails, half of each class, at which the own counts have half their weight
)
