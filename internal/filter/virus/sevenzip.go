package virus

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// Methods by which 7z files are packed, as they stand there.
const (
	copied7z  = "\x00"
	lzma7z    = "\x03\x01\x01"
	lzma27z   = "\x21"
	deflate7z = "\x04\x01\x08"
	bzip27z   = "\x04\x02\x02"
	zstd7z    = "\x04\xf7\x11\x01"
	aes7z     = "\x06\xf1\x07\x01"
)

// branches7z change jumps of programs before they are packed. They leave the
// beginnings of files as they were, by which these are judged.
var branches7z = map[string]bool{
	"\x04": true, "\x05": true, "\x06": true, "\x07": true, "\x08": true, "\x09": true, "\x0a": true, "\x0b": true,
	"\x03\x03\x01\x03": true, "\x03\x03\x02\x05": true, "\x03\x03\x04\x01": true, "\x03\x03\x05\x01": true, "\x03\x03\x07\x01": true, "\x03\x03\x08\x05": true,
}

// sevenzip looks into a 7z file.
func (a *attachments) sevenzip(name string, f io.ReaderAt, size int64, depth int) error {
	z := &sevenzip{a: a, name: name, f: f, size: size}
	files, err := z.directory()
	if err == nil {
		err = z.members(files, depth)
	}
	if errors.Is(err, errEncrypted) {
		a.say("ARCHIVE_ENCRYPTED", quoted(name)+" hides even the names of its files")
		return nil
	}
	if err != nil {
		return a.damaged(name, err, depth+1)
	}
	return nil
}

var (
	err7z        = errors.New("not a proper file of type 7z")
	errEncrypted = errors.New("encrypted")
	errTooMany   = errors.New("too many files")
)

// sevenzip is a 7z file; the directory's layout is in 7zFormat.txt of the LZMA SDK.
// The libraries there are take as much memory as a file asks for.
type sevenzip struct {
	a    *attachments
	name string
	f    io.ReaderAt
	size int64

	folders []folder7z // of the directory read last
}

// folder7z is a stream of files packed together.
type folder7z struct {
	coders []coder7z // from the packed to the unpacked end; none: not to be unpacked here
	offset int64     // in the file
	packed int64
	files  []int64 // sizes
}

type coder7z struct {
	method     string
	properties []byte
	size       int64 // of what comes out
}

const header7z = 32

// directory gives the names of the files. Directories that are packed themselves
// may be so more than once, though not often.
func (z *sevenzip) directory() ([]file7z, error) {
	h := make([]byte, header7z)
	if _, err := z.f.ReadAt(h, 0); err != nil {
		return nil, err7z
	}
	offset, length := binary.LittleEndian.Uint64(h[12:]), binary.LittleEndian.Uint64(h[20:])
	if length == 0 {
		return nil, nil
	}
	if offset > uint64(z.size) || length > uint64(z.size) {
		return nil, err7z
	}
	var r io.Reader = io.NewSectionReader(z.f, header7z+int64(offset), int64(length))
	for range maxDepth {
		data, err := z.bounded(r, int64(length))
		if err != nil {
			return nil, err
		}
		d := &directory7z{cursor: cursor{data: data}}
		files, again, err := d.read()
		z.folders = d.folders
		if err != nil || !again {
			return files, err
		}
		unpacked, release, err := z.unpack(&z.folders[0])
		if err != nil {
			return nil, err
		}
		defer release()
		r, length = unpacked, uint64(z.folders[0].size())
	}
	return nil, err7z
}

// bounded reads a directory.
func (z *sevenzip) bounded(r io.Reader, size int64) ([]byte, error) {
	if size < 0 || size > maxDirectory {
		return nil, errTooMany
	}
	return io.ReadAll(io.LimitReader(r, size))
}

func (f *folder7z) size() int64 {
	if len(f.coders) == 0 {
		return 0
	}
	return f.coders[len(f.coders)-1].size
}

// unpack gives what a folder holds; release is called after its use.
func (z *sevenzip) unpack(f *folder7z) (r io.Reader, release func(), err error) {
	if len(f.coders) == 0 {
		return nil, nil, errPacking
	}
	var open []func()
	release = func() {
		for _, done := range open {
			done()
		}
	}
	r = bufio.NewReader(io.NewSectionReader(z.f, f.offset, f.packed))
	for _, c := range f.coders {
		var done func()
		if r, done, err = z.decode(c, r); err != nil {
			release()
			return nil, nil, err
		}
		open = append(open, done)
	}
	return z.a.counted(io.LimitReader(r, f.size())), release, nil
}

// decode undoes one step of packing.
func (z *sevenzip) decode(c coder7z, r io.Reader) (_ io.Reader, done func(), err error) {
	done = func() {}
	switch c.method {
	case aes7z:
		return nil, nil, errEncrypted
	case copied7z:
		return r, done, nil
	case deflate7z:
		return flate.NewReader(r), done, nil
	case bzip27z:
		return bzip2.NewReader(r), done, nil
	case zstd7z:
		return z.a.zstd(z.name, r)
	case lzma7z, lzma27z:
		return z.lzma(c, r)
	}
	if branches7z[c.method] {
		return r, done, nil
	}
	return nil, nil, errPacking
}

// lzma undoes LZMA and LZMA2. No dictionary need be larger than what comes out.
func (z *sevenzip) lzma(c coder7z, r io.Reader) (_ io.Reader, done func(), err error) {
	var dictionary int64
	switch {
	case c.method == lzma7z && len(c.properties) == 5:
		dictionary = int64(binary.LittleEndian.Uint32(c.properties[1:]))
	case c.method == lzma27z && len(c.properties) == 1:
		dictionary, err = lzma.DecodeDictCap(c.properties[0])
	default:
		err = err7z
	}
	if err != nil {
		return nil, nil, err
	}
	dictionary = max(min(dictionary, c.size), lzma.MinDictCap)
	if done, err = z.a.dictionary(z.name, dictionary); err != nil {
		return nil, nil, err
	}
	if c.method == lzma27z {
		r, err = lzma.Reader2Config{DictCap: int(dictionary)}.NewReader2(r)
	} else {
		// What stands before LZMA in a file of its own.
		h := binary.LittleEndian.AppendUint32([]byte{c.properties[0]}, uint32(dictionary))
		h = binary.LittleEndian.AppendUint64(h, uint64(c.size))
		r, err = lzma.ReaderConfig{DictCap: int(dictionary)}.NewReader(io.MultiReader(bytes.NewReader(h), r))
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return r, done, nil
}

// members looks at all files. A folder that cannot be unpacked costs only what
// is in its files; their names are judged.
func (z *sevenzip) members(files []file7z, depth int) error {
	for _, file := range files {
		if !z.a.entry() {
			return nil
		}
		z.a.name(file.name, []byte{}) // first of all, lest what comes be in the way
	}
	for i := range z.folders {
		f := &z.folders[i]
		n := 0
		for n < len(files) && files[n].folder <= i {
			n++
		}
		if err := z.folder(f, files[:n], depth); err != nil {
			return err
		}
		files = files[n:]
	}
	for _, file := range files {
		z.a.name(file.name, nil)
	}
	return nil
}

func (z *sevenzip) folder(f *folder7z, files []file7z, depth int) error {
	r, release, err := z.unpack(f)
	if err == nil {
		defer release()
	}
	for _, file := range files {
		if file.empty {
			continue
		}
		if err != nil {
			z.a.name(file.name, nil)
			continue
		}
		member := io.LimitReader(r, file.size)
		if oerr := z.a.open([]string{file.name}, member, depth+1); oerr != nil {
			return oerr
		}
		_, err = io.Copy(io.Discard, member)
	}
	switch {
	case errors.Is(err, errEncrypted) && len(files) > 0:
		z.a.say("ARCHIVE_ENCRYPTED", quoted(z.name)+" holds "+quoted(files[0].name))
	case err != nil:
		return z.a.damaged(z.name, err, depth+1)
	}
	return nil
}
