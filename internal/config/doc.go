package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
)

// Key describes one key for operators.
type Key struct {
	Name    string // dotted, with [] behind arrays of tables
	Type    string
	Default string // as TOML
	Doc     string
}

// Keys lists every key in the order of the file.
func Keys() []Key { return keysOf(reflect.ValueOf(*Default()), "") }

func keysOf(v reflect.Value, prefix string) []Key {
	var keys []Key
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("toml")
		if name == "" || name == "-" {
			continue
		}
		field := v.Field(i)
		switch {
		case f.Tag.Get("doc") != "":
			keys = append(keys, Key{prefix + name, typeName(f.Type), tomlValue(field), f.Tag.Get("doc")})
		case f.Type.Kind() == reflect.Slice:
			keys = append(keys, keysOf(reflect.Zero(f.Type.Elem()), prefix+name+"[].")...)
		default:
			keys = append(keys, keysOf(field, prefix+name+".")...)
		}
	}
	return keys
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Duration]():
		return "time span"
	case reflect.TypeFor[Size]():
		return "size"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list of " + typeName(t.Elem()) + "s"
	case reflect.Int:
		return "number"
	case reflect.Bool:
		return "true or false"
	case reflect.Struct:
		return "network"
	}
	return "string"
}

func tomlValue(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		if err != nil {
			return ""
		}
		return fmt.Sprintf("%q", b)
	}
	switch v.Kind() {
	case reflect.Slice:
		var items []string
		for i := range v.Len() {
			items = append(items, tomlValue(v.Index(i)))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	}
	return fmt.Sprint(v.Interface())
}
