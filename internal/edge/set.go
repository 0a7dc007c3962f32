package edge

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// RuleKeys names the rules, as Set knows them, in the order of Rules: the
// fields in lower case with underscores.
func RuleKeys() []string {
	t := reflect.TypeFor[Rules]()
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = ruleKey(t.Field(i).Name)
	}
	return keys
}

// ruleKey turns RetryMax into retry_max and SPF into spf.
func ruleKey(field string) string {
	var b strings.Builder
	for i, c := range field {
		upper := c >= 'A' && c <= 'Z'
		if upper && i > 0 && field[i-1] >= 'a' && field[i-1] <= 'z' {
			b.WriteByte('_')
		}
		b.WriteString(strings.ToLower(string(c)))
	}
	return b.String()
}

// Set changes one rule by its key; values are written as in Go. It is for those
// who try rules out: replaying events, simulations. An unknown key, a number
// that is negative or not finite, and what is no value of the rule's type are
// errors, and change nothing.
func (r *Rules) Set(key, value string) error {
	for i, k := range RuleKeys() {
		if k != key {
			continue
		}
		if err := setField(reflect.ValueOf(r).Elem().Field(i), value); err != nil {
			return fmt.Errorf("rule %s: %w", key, err)
		}
		return nil
	}
	return fmt.Errorf("no rule %q; there are %s", key, strings.Join(RuleKeys(), ", "))
}

func setField(f reflect.Value, value string) error {
	switch f.Kind() {
	case reflect.Bool:
		v, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		f.SetBool(v)
	case reflect.Int:
		v, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return fmt.Errorf("%q is no whole number from 0", value)
		}
		f.SetInt(int64(v))
	default:
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			return fmt.Errorf("%q is no number from 0", value)
		}
		f.SetFloat(v)
	}
	return nil
}
