package event

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Field describes a field of Event for operators and for other programs.
type Field struct {
	Name string // in the journal and in searches
	Type string // text, number, time or address
	Doc  string
}

// Fields are the fields of an Event, in their order.
var Fields = fields()

// place gives the index of a field by its name.
var place = func() map[string]int {
	at := map[string]int{}
	for i, f := range Fields {
		at[f.Name] = i
	}
	return at
}()

func fields() (fields []Field) {
	t := reflect.TypeFor[Event]()
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		kind := "text"
		switch f.Type {
		case reflect.TypeFor[time.Time]():
			kind = "time"
		case reflect.TypeFor[netip.Addr]():
			kind = "address"
		}
		switch f.Type.Kind() {
		case reflect.Int, reflect.Int64, reflect.Uint16, reflect.Float32:
			kind = "number"
		}
		fields = append(fields, Field{Name: name, Type: kind, Doc: f.Tag.Get("doc")})
	}
	return fields
}

// IsField tells whether events have a field of that name.
func IsField(name string) bool {
	_, known := place[name]
	return known
}

// Get gives a field by its name, as text, as a log store does; "" when it is
// empty or when there is none.
func (e *Event) Get(name string) string {
	i, known := place[name]
	if !known {
		return ""
	}
	v := reflect.ValueOf(e).Elem().Field(i)
	if v.IsZero() {
		return ""
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, _ := m.MarshalText() // fails for years beyond 9999
		return string(text)
	}
	return fmt.Sprint(v.Interface())
}

// Set gives a field, by its name, the value that a log store tells as text. A
// name that no field has is no error: the store has fields of its own.
func (e *Event) Set(name, value string) error {
	i, known := place[name]
	if !known {
		return nil
	}
	var err error
	switch v := reflect.ValueOf(e).Elem().Field(i); v.Kind() {
	case reflect.String:
		v.SetString(value)
	case reflect.Int, reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(value, 10, 64)
		v.SetInt(n)
	case reflect.Uint16:
		var n uint64
		n, err = strconv.ParseUint(value, 10, 16)
		v.SetUint(n)
	case reflect.Float32:
		var n float64
		n, err = strconv.ParseFloat(value, 32)
		v.SetFloat(n)
	default: // time and address
		err = v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(value))
	}
	if err != nil {
		return fmt.Errorf("event field %s: %w", name, err)
	}
	return nil
}
