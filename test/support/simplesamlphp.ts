import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { SpKey } from "../../src/federation/saml/sp-key.ts";
import { freePort } from "./server.ts";

/** Where Debian's package puts it. */
const HOME = "/usr/share/simplesamlphp";
const PHP = "php";

/** A SimpleSAMLphp that runs as identity provider, with one account: ada, password adapass. */
export interface SimpleSaml {
  readonly metadata: string;
  readonly base: string;
  /** Tells it of a service provider, by the metadata of that. */
  trust(metadata: string): void;
  /** Changes how it answers, by settings of its hosted identity provider in PHP. */
  configure(settings: string): void;
  stop(): void;
}

/** Whether it is there: Debian's packages simplesamlphp, php-cli, php-xml and php-mbstring. */
export function hasSimpleSaml(): boolean {
  return existsSync(join(HOME, "www")) && spawnSync(PHP, ["--version"]).status === 0;
}

/** Starts it with the web server that PHP has, over a directory of its own. */
export async function startSimpleSaml(key: SpKey): Promise<SimpleSaml> {
  const directory = mkdtempSync(join(tmpdir(), "lintel-simplesamlphp-"));
  const port = await freePort();
  const base = `http://localhost:${port}/`;
  const write = (name: string, text: string) => writeFileSync(join(directory, name), text);
  for (const name of ["metadata", "cert", "log", "temp", "data", "sessions"])
    mkdirSync(join(directory, name));
  write("cert/idp.crt", key.certificate);
  write("cert/idp.key", key.privateKey);
  write("config.php", configuration(directory, base));
  write("authsources.php", ACCOUNTS);
  write("router.php", ROUTER);
  const configure = (settings: string) =>
    write(
      "metadata/saml20-idp-hosted.php",
      `<?php $metadata['__DYNAMIC:1__'] = array_merge([${HOSTED}], [${settings}]);`,
    );
  const trust = (metadata: string) => write("metadata/sp.xml", metadata);
  configure("");
  trust('<EntitiesDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata"/>');

  const child = spawn(
    PHP,
    ["-d", "opcache.enable_cli=0", "-S", `127.0.0.1:${port}`, join(directory, "router.php")],
    {
      env: { PATH: process.env["PATH"], SIMPLESAMLPHP_CONFIG_DIR: directory },
      stdio: "ignore",
    },
  );
  const stop = () => {
    child.kill();
    rmSync(directory, { recursive: true, force: true });
  };
  const url = `${base}saml2/idp/metadata.php`;
  for (let tries = 0; tries < 100; tries += 1) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.status === 200)
      return { metadata: await answer.text(), base, trust, configure, stop };
    await delay(100);
  }
  stop();
  throw new Error("SimpleSAMLphp did not start");
}

const configuration = (directory: string, base: string) => `<?php
@include '/etc/simplesamlphp/config.php';
$config = array_merge($config, [
  'baseurlpath' => '${base}',
  'certdir' => '${directory}/cert/',
  'loggingdir' => '${directory}/log/',
  'datadir' => '${directory}/data/',
  'tempdir' => '${directory}/temp',
  'metadatadir' => '${directory}/metadata/',
  'metadata.sources' => [['type' => 'flatfile'], ['type' => 'xml', 'file' => '${directory}/metadata/sp.xml']],
  'secretsalt' => 'of a test',
  'auth.adminpassword' => 'of a test',
  'timezone' => 'UTC',
  'logging.handler' => 'file',
  'statistics.out' => [],
  'enable.saml20-idp' => true,
  'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],
  'session.cookie.secure' => false,
  'session.cookie.samesite' => null,
  'session.phpsession.savepath' => '${directory}/sessions',
  'language.cookie.secure' => false,
  'language.cookie.samesite' => null,
  'authproc.idp' => [],
  'store.type' => 'phpsession',
]);
`;

const ACCOUNTS = `<?php $config = ['people' => ['exampleauth:UserPass',
  'ada:adapass' => ['uid' => ['ada'], 'mail' => ['ada@example.com'], 'displayName' => ['Ada Lövelace'], 'groups' => ['eng', 'ops']],
]];`;

const HOSTED = `
  'host' => '__DEFAULT__',
  'privatekey' => 'idp.key',
  'certificate' => 'idp.crt',
  'auth' => 'people',
  'signature.algorithm' => 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
  'validate.authnrequest' => true,
  'sign.logout' => true,
  'validate.logout' => true,
  'attributes.NameFormat' => 'urn:oasis:names:tc:SAML:2.0:attrname-format:basic',
  'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
  'authproc' => [3 => ['class' => 'saml:AttributeNameID', 'attribute' => 'uid', 'Format' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent']],
`;

/** PHP's own web server takes /module.php/core/x.php for a file that is not there. */
const ROUTER = `<?php
$root = '${HOME}/www';
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if (!preg_match('#^(/.*?\\\\.php)(/.*)?$#', $path, $found) || !is_file($root . $found[1])) return false;
$_SERVER['SCRIPT_NAME'] = $found[1];
$_SERVER['SCRIPT_FILENAME'] = $root . $found[1];
$_SERVER['PATH_INFO'] = $found[2] ?? '';
$_SERVER['PHP_SELF'] = $path;
chdir(dirname($root . $found[1]));
require $root . $found[1];
`;
