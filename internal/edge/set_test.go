package edge

import (
	"slices"
	"testing"
)

func TestEveryRuleCanBeSetByName(t *testing.T) {
	r, was := DefaultRules(), DefaultRules()
	for _, key := range RuleKeys() {
		value := "0.5"
		switch key {
		case "strict":
			value = "true"
		case "credits_per_recipient":
			value = "3"
		}
		if err := r.Set(key, value); err != nil {
			t.Error(err)
		}
		if r == was {
			t.Errorf("%s=%s changed nothing", key, value)
		}
		was = r
	}
	for _, key := range []string{"retry_max", "spf", "vouched_penalty"} {
		if !slices.Contains(RuleKeys(), key) {
			t.Errorf("no rule %s in %v", key, RuleKeys())
		}
	}
}

func TestBadRulesChangeNothing(t *testing.T) {
	for _, c := range [][2]string{{"nonsense", "1"}, {"unknown", "x"}, {"unknown", "-1"}, {"unknown", "NaN"},
		{"unknown", "+Inf"}, {"strict", "maybe"}, {"credits_per_recipient", "1.5"}, {"credits_per_recipient", "-1"}} {
		r := DefaultRules()
		if err := r.Set(c[0], c[1]); err == nil {
			t.Errorf("%s=%s was taken", c[0], c[1])
		}
		if r != DefaultRules() {
			t.Errorf("%s=%s changed something", c[0], c[1])
		}
	}
}
