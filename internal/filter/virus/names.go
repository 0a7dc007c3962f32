package virus

import (
	"regexp"
	"strings"
)

// run are endings of files that a computer runs, or that change it, when they
// are opened (what Microsoft Outlook and Google Mail do not let through, 2026).
var run = words(`
	ade adp app appcontent-ms application appref-ms appx appxbundle asp aspx bas bat bgi cab cdxml cer chm cmd cnt com cpl
	crt csh der diagcab dll dmg exe fxp gadget grp hlp hpj hta htc img inf ins iso isp isu its jar jnlp js jse ksh
	lib library-ms lnk mad maf mag mam maq mar mas mat mau mav maw mcf mda mdb mde mdt mdw mdz msc mscompress msh msh1
	msh2 mshxml msh1xml msh2xml msi msix msixbundle msp mst msu nsh one ops osd pcd pif pl plg prf prg printerexport ps1
	ps1xml ps2 ps2xml psc1 psc2 psd1 psdm1 pssc pst py pyc pyo pyw pyz pyzw reg scf scr sct search-ms settingcontent-ms
	shb shs sys theme themepack tmp udl url vb vbe vbp vbs vhd vhdx vsmacros vsw vxd webpnp website ws wsb wsc wsf wsh
	xbap xll xnk
`)

// shown are endings by which a file passes for a document.
var shown = words(`pdf doc docx xls xlsx ppt pptx txt rtf jpg jpeg png gif bmp csv htm html mp3 mp4 zip odt ods xml eml`)

// macros are documents that say by their name that they hold programs.
var macros = words(`docm dotm xlsm xltm xlam xlsb pptm potm ppam ppsm sldm`)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// extension gives the ending of a file name as a computer takes it, in lower
// case.
func extension(name string) string {
	name = trimmed(name)
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return ""
	}
	return strings.ToLower(name[i+1:])
}

// trimmed gives a name without the dots and blanks behind it that Windows drops,
// and the quotes that a mail program may take for its own.
func trimmed(name string) string {
	return strings.TrimRight(strings.Map(visible, name), ". \t'\"")
}

// visible drops the letters that turn a name around or are not seen.
func visible(r rune) rune {
	switch {
	case r < ' ', r == 0x7f, r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x2069, r == 0xfeff:
		return -1
	}
	return r
}

// disguise tells how a name hides its ending, "" when it does not.
func disguise(name string) string {
	switch ext := extension(name); {
	case strings.ContainsAny(name, "\u202e\u202d"):
		return "letters that turn the name around"
	case strings.Contains(name, "      ") || len(name) > 120 && run[ext]:
		return "so long that its end is not seen"
	case run[ext]:
		before := trimmed(name)
		before = strings.TrimRight(before[:len(before)-len(ext)-1], ". \t_")
		if shown[extension(before)] {
			return "two endings"
		}
	}
	return ""
}

var comment = regexp.MustCompile(`\([^()]*\)`)

// readings gives names also as those programs read them that drop comments, which
// may stand between the words of a header, from within a name.
func readings(names []string) []string {
	for _, name := range names {
		if short := comment.ReplaceAllString(name, ""); short != name {
			names = append(names, short)
		}
	}
	return names
}
