package event

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// full gives an event with every field set.
func full(t *testing.T) Event {
	t.Helper()
	var e Event
	v := reflect.ValueOf(&e).Elem()
	for i, f := range Fields {
		switch v.Field(i).Kind() {
		case reflect.String:
			v.Field(i).SetString("the " + f.Name)
		case reflect.Int, reflect.Int64:
			v.Field(i).SetInt(int64(i) - 40)
		case reflect.Uint16:
			v.Field(i).SetUint(65535)
		case reflect.Float32:
			v.Field(i).SetFloat(-2.5)
		}
	}
	e.Time, e.IP = time.Date(2026, 5, 4, 3, 2, 1, 123456789, time.UTC), netip.MustParseAddr("2001:db8::1")
	return e
}

func TestFieldsAreDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Fields {
		if f.Name == "" || f.Doc == "" || seen[f.Name] {
			t.Errorf("field %+v: no name, no description, or the name twice", f)
		}
		seen[f.Name] = true
	}
}

// TestTextGivesTheEventBack checks Set with all fields as a store tells them.
func TestTextGivesTheEventBack(t *testing.T) {
	want := full(t)
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var told map[string]any
	if err := json.Unmarshal(b, &told); err != nil {
		t.Fatal(err)
	}
	if len(told) != len(Fields) {
		t.Fatalf("%d fields in JSON, %d described", len(told), len(Fields))
	}
	var got Event
	for name, value := range told {
		if err := got.Set(name, fmt.Sprint(value)); err != nil {
			t.Error(err)
		}
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := got.Set("_stream_id", "x"); err != nil {
		t.Error("a field of the store's own:", err)
	}
	for name, bad := range map[string]string{"code": "many", "port": "65536", "ip": "nowhere", "time": "late", "score": "high"} {
		if err := got.Set(name, bad); err == nil {
			t.Errorf("%s: %q was taken", name, bad)
		}
	}
}
