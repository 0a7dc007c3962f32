package node

import (
	"reflect"
	"strings"

	"github.com/migiwa/migiwa/internal/config"
)

// reloadable are the keys, or the beginnings of keys, that Reload puts into
// force.
var reloadable = []string{"route", "log.level"}

// needRestart lists the keys in which now differs from what the node was
// started with and that Reload leaves alone.
func needRestart(started, now *config.Config) []string {
	var keys []string
	compare("", reflect.ValueOf(*started), reflect.ValueOf(*now), &keys)
	return keys
}

func compare(prefix string, a, b reflect.Value, keys *[]string) {
	for i := range a.NumField() {
		f := a.Type().Field(i)
		name := f.Tag.Get("toml")
		if name == "-" {
			continue
		}
		key := prefix + name
		switch {
		case isReloadable(key):
		case f.Type.Kind() == reflect.Struct && f.Tag.Get("doc") == "":
			compare(key+".", a.Field(i), b.Field(i), keys)
		case !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()):
			*keys = append(*keys, key)
		}
	}
}

func isReloadable(key string) bool {
	for _, r := range reloadable {
		if key == r || strings.HasPrefix(key, r+".") {
			return true
		}
	}
	return false
}
