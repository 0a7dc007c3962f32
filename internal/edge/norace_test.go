//go:build !race

package edge

const underRace = false // with the race detector some tests do less
