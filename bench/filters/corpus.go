package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/learned"
)

// letter is one message of a collection.
type letter struct {
	way    []byte // raw, with the fields of its way
	name   string
	spam   bool
	hard   bool // wanted mail that looks like advertising
	test   bool // in the half that nothing was tuned on
	raw    []byte
	tokens []string
	hashes []uint64
	salted bool   // a copy for the training, hidden among wanted words
	sender string // domain of the author
}

// material is the directory of other people's test mail.
func material() string {
	if dir := os.Getenv("MIGIWA_TESTDATA"); dir != "" {
		return dir
	}
	return "../shared/data"
}

// readCorpus gives the labelled mail, cleaned of what leaks its label, in the
// order of its names.
func readCorpus() ([]*letter, error) {
	files, err := unpack(filepath.Join(material(), "06-spam", "sa-publiccorpus-dev.tar.zst"))
	if err != nil {
		return nil, err
	}
	var out []*letter
	for name, raw := range files {
		class := path.Base(path.Dir(name))
		if class != "ham" && class != "spam" {
			continue
		}
		l := &letter{name: class + "/" + path.Base(name), spam: class == "spam", raw: clean(raw), way: cleanButWay(raw)}
		l.hard = strings.HasPrefix(path.Base(name), "hard-ham")
		l.test = half(l.raw)
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *letter) int { return strings.Compare(a.name, b.name) })
	return out, tokenize(out)
}

// half splits by the letters of the text, so that copies of one message stay
// on one side, and in the same way on every machine.
func half(raw []byte) bool {
	_, body, _ := bytes.Cut(raw, []byte("\n\n"))
	sum := sha256.Sum256(bytes.Join(bytes.Fields(body), nil))
	return sum[0]&1 == 1
}

func tokenize(letters []*letter) error {
	for _, l := range letters {
		m, err := filter.FromBytes(filter.Envelope{}, l.raw)
		if err != nil {
			return err
		}
		l.tokens = learned.Tokens(m)
		l.hashes = learned.Hashes(l.tokens)
		author, _ := m.Author()
		l.sender = string(author.Address.Domain)
	}
	return nil
}

// unpack reads a .tar.zst into memory.
func unpack(name string) (map[string][]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("no test material (set MIGIWA_TESTDATA): %w", err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(1<<27))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	out := map[string][]byte{}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if out[h.Name], err = io.ReadAll(t); err != nil {
			return nil, err
		}
	}
}

// otherHam gives further sets of mail that is no spam, by name.
func otherHam() (map[string][]*letter, error) {
	out := map[string][]*letter{}
	for set, archive := range map[string]string{
		"Japanese": "11-japanese/japanese-messages-dev.tar.zst",
		"notmuch":  "05-mime/notmuch-corpora.tar.zst",
	} {
		files, err := unpack(filepath.Join(material(), archive))
		if err != nil {
			return nil, err
		}
		for name, raw := range files {
			out[set] = appendHam(out[set], name, raw)
		}
	}
	root := filepath.Join(material(), "05-mime", "enmime-testdata")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".raw" {
			return err
		}
		raw, err := os.ReadFile(name)
		out["enmime"] = appendHam(out["enmime"], name, raw)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, letters := range out {
		slices.SortFunc(letters, func(a, b *letter) int { return strings.Compare(a.name, b.name) })
		if err := tokenize(letters); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// appendHam leaves out what is no message, and the spam that stands among the
// Japanese messages.
func appendHam(letters []*letter, name string, raw []byte) []*letter {
	base := path.Base(name)
	if base == "SOURCE.txt" || base == "README" || strings.Contains(base, "__spam-") || strings.Contains(base, "sa-publiccorpus") {
		return letters
	}
	return append(letters, &letter{name: base, raw: clean(raw), way: cleanButWay(raw)})
}
