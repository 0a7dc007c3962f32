package link

// freePages are sites below whose one name strangers have pages, and which the
// public suffix list does not know as suffixes.
var freePages = words(`
	sites.google.com forms.gle docs.google.com form.jotform.com jotform.com typeform.com wixsite.com weebly.com
	weeblysite.com square.site mystrikingly.com godaddysites.com webwave.dev ipfs.io cloudflare-ipfs.com ukit.me
	000webhostapp.com blogspot.com wordpress.com tumblr.com site123.me yolasite.com webador.com carrd.co
	framer.app framer.website duckdns.org glitch.me replit.app surge.sh telegra.ph notion.site gitbook.io
	serv00.net ubpages.com flk-ipfs.xyz tw1.ru mybluehost.me codeanyapp.com freewebhostmost.com temporary.site studio.site
	wcomhost.com tiiny.io tiiny.site bakoweb.com mmm.page hstn.me daftpage.com work.gd 4everland.app myfunnelish.com ct.ws g8way.io
	kinsta.cloud hostingersite.com swtest.ru zya.me mytemp.website n0c.world tempisite.com b-cdn.net backblazeb2.com free.hr
	clickfunnels.com myshopify.com canva.site start.page linktr.ee bio.link lnk.bio
`)

// shorteners lead elsewhere by a name of their own that tells nothing.
var shorteners = words(`
	bit.ly tinyurl.com t.co goo.gl ow.ly is.gd buff.ly rebrand.ly cutt.ly shorturl.at rb.gy t.ly tiny.cc v.gd
	qrco.de s.id shorter.me tr.im x.co adf.ly bl.ink short.io u.to clck.ru da.gd 2no.co lnkd.in urlz.fr
	did.li n9.cl soo.gd hyperurl.co l.ead.me l.linklyhq.com linklyhq.com surl.li shortlink.uk urlfy.org
`)
