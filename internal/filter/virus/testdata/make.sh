#!/bin/sh
# Makes archives.txt: a line for each archive, its name and what it is in base64.
# Debian: apt install bzip2 xz-utils zstd p7zip-full genisoimage
set -eu
out=$PWD/archives.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

printf 'MZ not a program' >invoice.pdf.scr
printf 'just text\n' >example.com
for i in 1 2 3 4 5 6 7 8; do echo "words and more words, line $i" >>notes.txt; done
mkdir empty
tar --owner=0 --group=0 --mtime=@0 -cf scr.tar notes.txt invoice.pdf.scr
tar --owner=0 --group=0 --mtime=@0 -cf com.tar example.com

bzip2 -k scr.tar
xz -k --check=crc64 scr.tar
xz -k --check=sha256 --block-size=1024 -c scr.tar >blocks.tar.xz
xz -k --x86 --lzma2=preset=6 -c scr.tar >filter.tar.xz
zstd -q -k scr.tar
xz -k com.tar
xz -k notes.txt

z() { 7z a -bd -bso0 -mtc=off -mtm=off "$@"; }
z plain.7z -mhc=off -m0=lzma notes.txt invoice.pdf.scr empty
z default.7z notes.txt invoice.pdf.scr example.com
z com.7z example.com
z copy.7z -m0=copy invoice.pdf.scr
z x86.7z -m0=bcj -m1=lzma scr.tar
z bcj2.7z -m0=bcj2 -m1=lzma -m2=lzma -m3=lzma -mb0:1 -mb0s1:2 -mb0s2:3 invoice.pdf.scr
z bzip2.7z -m0=bzip2 scr.tar.xz notes.txt
z deflate.7z -m0=deflate scr.tar
z ppmd.7z -m0=ppmd scr.tar
z secret.7z -psecret notes.txt
z hidden.7z -psecret -mhe=on invoice.pdf.scr
z nested.7z -ms=on notes.txt scr.tar.bz2

mkdir disc disc/sub
cp notes.txt invoice.pdf.scr disc/sub
genisoimage -quiet -o plain.iso disc
genisoimage -quiet -J -o joliet.iso disc
genisoimage -quiet -r -o rock.iso disc

# Bombs: the program stands behind what nobody would unpack.
truncate -s 300M zeros
tar --owner=0 --group=0 --mtime=@0 -cf bomb.tar zeros invoice.pdf.scr
bzip2 -k bomb.tar
xz -k -0 bomb.tar
zstd -q -k bomb.tar
z bomb.7z -ms=on -mqs=off zeros invoice.pdf.scr
rm zeros bomb.tar

for f in scr.tar.* blocks.tar.xz filter.tar.xz com.tar.xz notes.txt.xz [!b]*.7z bcj2.7z bzip2.7z; do
	echo "$f $(base64 -w0 "$f")"
done >"$out"
for f in *.iso bomb.*; do # large, and much the same
	gzip -9n "$f"
	echo "$f.gz $(base64 -w0 "$f.gz")"
done >>"$out"
