package virus

import (
	"math/bits"
	"slices"
	"unicode/utf16"
)

// Marks of the parts of a 7z file's directory.
const (
	end7z, directory7zID, properties7z, additional7z, streams7z, files7z = 0, 1, 2, 3, 4, 5
	pack7z, unpack7z, substreams7z, sizes7z, digests7z, folders7z        = 6, 7, 8, 9, 10, 11
	codersSizes7z, counts7z, emptyStreams7z, emptyFiles7z, names7z       = 12, 13, 14, 15, 17
	packed7z                                                             = 23 // the directory is packed itself
)

// file7z is a file in the directory; folders are not listed.
type file7z struct {
	name   string
	folder int // where its content is
	size   int64
	empty  bool // without content
}

// directory7z reads a directory.
type directory7z struct {
	cursor
	tooMany bool
	folders []folder7z
}

// number reads a number: the first octet tells by its leading ones how many follow.
func (d *directory7z) number() uint64 {
	first := d.octet()
	more := bits.LeadingZeros8(^first)
	n := uint64(0)
	for i, b := range d.take(uint64(more)) {
		n |= uint64(b) << (8 * i)
	}
	if more < 7 {
		n |= uint64(first&(1<<(7-more)-1)) << (8 * more)
	}
	return n
}

// size reads a number of octets.
func (d *directory7z) size() int64 {
	n := d.number()
	d.bad = d.bad || n >= 1<<62
	return int64(n)
}

// count reads how many of something there are.
func (d *directory7z) count() int {
	n := d.number()
	if n > maxEntries {
		d.tooMany, d.bad = true, true
		return 0
	}
	return int(n)
}

// flags reads n bits, or none: what is not there takes no memory, however often
// it is announced.
func (d *directory7z) flags(n int) []bool {
	octets := d.take(uint64(n+7) / 8)
	set := make([]bool, min(n, len(octets)*8))
	for i := range set {
		set[i] = octets[i/8]&(0x80>>(i%8)) != 0
	}
	return set
}

// digests skips checksums, and tells which there are.
func (d *directory7z) digests(n int) []bool {
	set := slices.Repeat([]bool{true}, n)
	if d.octet() == 0 {
		set = d.flags(n)
	}
	for _, defined := range set {
		if defined {
			d.take(4)
		}
	}
	return set
}

// read gives the files; again tells that the directory is the content of the one
// folder that was read.
func (d *directory7z) read() (files []file7z, again bool, err error) {
	switch d.number() {
	case packed7z:
		d.streams()
		again = true
		d.bad = d.bad || len(d.folders) == 0
	case directory7zID:
		files = d.header()
	default:
		d.bad = true
	}
	switch {
	case d.tooMany:
		return nil, false, errTooMany
	case d.bad:
		return nil, false, err7z
	}
	return files, again, nil
}

func (d *directory7z) header() (files []file7z) {
	for !d.bad {
		switch d.number() {
		case end7z:
			return files
		case properties7z:
			for d.number() != end7z && !d.bad {
				d.take(d.number())
			}
		case additional7z:
			d.streams()
			d.folders = nil
		case streams7z:
			d.streams()
		case files7z:
			files = d.files()
		default:
			d.bad = true
		}
	}
	return nil
}

// streams reads where folders are, how they are packed, and the sizes of files.
func (d *directory7z) streams() {
	var offset int64
	var packs []int64
	var known []bool // folders with a checksum
	for !d.bad {
		switch d.number() {
		case end7z:
			return
		case pack7z:
			offset, packs = d.packs()
		case unpack7z:
			known = d.unpackings(header7z+offset, packs)
		case substreams7z:
			d.substreams(known)
		default:
			d.bad = true
		}
	}
}

func (d *directory7z) packs() (offset int64, sizes []int64) {
	offset = d.size()
	n := d.count()
	for !d.bad {
		switch d.number() {
		case end7z:
			return offset, sizes
		case sizes7z:
			for range n {
				sizes = append(sizes, d.size())
			}
		case digests7z:
			d.digests(n)
		default:
			d.bad = true
		}
	}
	return 0, nil
}

func (d *directory7z) unpackings(offset int64, packs []int64) (known []bool) {
	if d.number() != folders7z {
		d.bad = true
		return nil
	}
	n := d.count()
	d.bad = d.bad || d.octet() != 0 // elsewhere
	shapes := make([]shape7z, 0, min(n, len(d.data)))
	for range n {
		if d.bad {
			return nil
		}
		shapes = append(shapes, d.shape())
	}
	known = make([]bool, n)
	for !d.bad {
		switch d.number() {
		case end7z:
			return known
		case codersSizes7z:
			for _, s := range shapes {
				if d.bad = d.bad || len(packs) < s.packs; d.bad {
					return nil
				}
				f := folder7z{offset: offset}
				for _, size := range packs[:s.packs] {
					offset += size
				}
				packs, f.packed = packs[s.packs:], offset-f.offset
				d.sized(&f, s)
				d.folders = append(d.folders, f)
			}
		case digests7z:
			known = d.digests(n)
		default:
			d.bad = true
		}
	}
	return nil
}

// shape7z is how a folder is packed, without the sizes.
type shape7z struct {
	coders []coder7z
	order  []int // of the coders, as in folder7z; none: they are no chain
	packs  int
}

// shape reads how a folder is packed. Coders take streams and give one each; only
// chains of them are undone here.
func (d *directory7z) shape() (s shape7z) {
	const maxCoders = 32
	n := d.count()
	if d.bad = d.bad || n < 1 || n > maxCoders; d.bad {
		return s
	}
	ins := 0
	for range n {
		c, in := d.coder()
		d.bad = d.bad || in > maxCoders
		s.coders, ins = append(s.coders, c), ins+in
	}
	bound := map[int]int{} // into what the stream of a coder goes
	taken := map[int]bool{}
	for range n - 1 {
		in, out := d.count(), d.count()
		bound[out], taken[in] = in, true
	}
	if s.packs = ins - (n - 1); s.packs > 1 {
		for range s.packs {
			d.number()
		}
	}
	if d.bad = d.bad || s.packs < 1; d.bad {
		return s
	}
	if ins > n {
		s.order = encrypted7z(s.coders)
		return s
	}
	for i := range n {
		if taken[i] {
			continue
		}
		for next, ok := i, true; ok && len(s.order) < n; next, ok = bound[next] {
			s.order = append(s.order, min(next, n-1))
		}
	}
	return s
}

// coder reads one coder, and how many streams it takes.
func (d *directory7z) coder() (c coder7z, in int) {
	flags := d.octet()
	c.method, in = string(d.take(uint64(flags&15))), 1
	if flags&0x10 != 0 {
		in = d.count()
		d.bad = d.bad || d.count() != 1
	}
	if flags&0x20 != 0 {
		c.properties = d.take(d.number())
	}
	return c, in
}

// encrypted7z gives the first coder that encrypts.
func encrypted7z(coders []coder7z) []int {
	for i, c := range coders {
		if c.method == aes7z {
			return []int{i}
		}
	}
	return nil
}

// sized reads what each coder of a folder gives.
func (d *directory7z) sized(f *folder7z, s shape7z) {
	for i := range s.coders {
		s.coders[i].size = d.size()
	}
	for _, i := range s.order {
		f.coders = append(f.coders, s.coders[i])
	}
	f.files = []int64{f.size()}
}

// substreams reads how many files are in each folder, and their sizes; that of the
// last is what the others leave.
func (d *directory7z) substreams(known []bool) {
	for i := range d.folders {
		d.folders[i].files = make([]int64, 1)
	}
	id := d.number()
	if id == counts7z {
		total := 0
		for i := range d.folders {
			n := d.count()
			if total += n; total > maxEntries {
				d.tooMany, d.bad = true, true
				return
			}
			d.folders[i].files = make([]int64, n)
		}
		id = d.number()
	}
	unknown := 0
	for i := range d.folders {
		f := &d.folders[i]
		rest := f.size()
		for j := range f.files {
			if f.files[j] = rest; j < len(f.files)-1 && id == sizes7z {
				f.files[j] = d.size()
			}
			rest = max(0, rest-f.files[j])
		}
		if len(f.files) != 1 || i >= len(known) || !known[i] {
			unknown += len(f.files)
		}
	}
	for id == sizes7z && !d.bad {
		id = d.number()
	}
	if id == digests7z {
		d.digests(unknown)
		id = d.number()
	}
	d.bad = d.bad || id != end7z
}

// files reads the names, and which files have no content.
func (d *directory7z) files() (files []file7z) {
	n := d.count()
	var names []string
	var without, empty []bool
	for !d.bad {
		id := d.number()
		if id == end7z {
			break
		}
		part := directory7z{cursor: cursor{data: d.take(d.number())}}
		switch id {
		case names7z:
			d.bad = d.bad || part.octet() != 0 // elsewhere
			names = part.names(n)
		case emptyStreams7z:
			without = part.flags(n)
		case emptyFiles7z:
			empty = part.flags(n) // as many as are without content are of use
		}
	}
	folder, used := 0, 0
	for i, name := range names {
		if i < len(without) && without[i] {
			if len(empty) > 0 && empty[0] {
				files = append(files, file7z{name: name, folder: folder, empty: true})
			}
			empty = empty[min(1, len(empty)):]
			continue
		}
		for folder < len(d.folders) && used == len(d.folders[folder].files) {
			folder, used = folder+1, 0
		}
		f := file7z{name: name, folder: folder}
		if folder < len(d.folders) {
			f.size = d.folders[folder].files[used]
			used++
		}
		files = append(files, f)
	}
	return files
}

// names reads at most n names.
func (d *directory7z) names(n int) (names []string) {
	var letters []uint16
	for len(names) < n && !d.bad {
		letter := d.uint16()
		if letter != 0 {
			letters = append(letters, letter)
			continue
		}
		if !d.bad {
			names = append(names, string(utf16.Decode(letters)))
		}
		letters = letters[:0]
	}
	return names
}
