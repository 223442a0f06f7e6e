/**
 * Domains whose addresses anybody can have. Nobody owns their people, so no connection gets them, whatever is in DNS.
 * Not complete, and need not be: a domain counts when its DNS says so.
 */
export const PUBLIC_DOMAINS: ReadonlySet<string> = new Set(
  `
  126.com 139.com 163.com 189.cn aim.com alice.it aliyun.com aol.com arcor.de att.net bell.net bellsouth.net bigpond.com
  bk.ru bluewin.ch bol.com.br btinternet.com charter.net comcast.net cox.net daum.net disroot.org duck.com earthlink.net
  email.com email.cz fastmail.com fastmail.fm foxmail.com free.fr freemail.hu freenet.de gmail.com gmx.at gmx.ch gmx.com
  gmx.de gmx.net googlemail.com hanmail.net hey.com hotmail.be hotmail.co.uk hotmail.com hotmail.com.br hotmail.de
  hotmail.es hotmail.fr hotmail.it icloud.com ig.com.br inbox.com inbox.lv inbox.ru interia.pl kakao.com laposte.net
  libero.it list.ru live.ca live.co.uk live.com live.fr live.nl mac.com mail.com mail.de mail.ru mailbox.org
  mailinator.com me.com msn.com naver.com neuf.fr o2.pl online.no onet.pl orange.fr outlook.com outlook.com.br
  outlook.de outlook.es outlook.fr outlook.it outlook.jp pm.me posteo.de posteo.net proton.me protonmail.ch
  protonmail.com qq.com rambler.ru rediffmail.com riseup.net rocketmail.com rogers.com sapo.pt sbcglobal.net seznam.cz
  sfr.fr shaw.ca simplelogin.com sina.cn sina.com sky.com skynet.be sohu.com sympatico.ca t-online.de talktalk.net
  telenet.be telus.net terra.com.br tiscali.it tuta.com tuta.io tutamail.com tutanota.com tutanota.de uol.com.br ukr.net
  verizon.net videotron.ca virgilio.it virginmedia.com vk.com volny.cz wanadoo.fr web.de windowslive.com wp.pl
  yahoo.ca yahoo.co.id yahoo.co.in yahoo.co.jp yahoo.co.uk yahoo.com yahoo.com.ar yahoo.com.au yahoo.com.br
  yahoo.com.mx yahoo.de yahoo.es yahoo.fr yahoo.in yahoo.it yandex.com yandex.ru yeah.net ymail.com zoho.com
  zohomail.com ziggo.nl
  `
    .trim()
    .split(/\s+/),
);
