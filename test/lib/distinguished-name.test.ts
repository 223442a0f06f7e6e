import assert from "node:assert/strict";
import {
  parseDistinguishedName,
  sameName,
  subjectOf,
  type DistinguishedName,
} from "../../src/lib/distinguished-name.ts";
import { aCertificate, C, CN, O, OU, type CertificateOptions } from "../support/certificates.ts";

type Subject = NonNullable<CertificateOptions["subject"]>;

const EMAIL = "1.2.840.113549.1.9.1";
const UID = "0.9.2342.19200300.100.1.1";

/** Subjects as a certificate has them, outermost first, and as RFC 4514 writes them. */
const SAME: readonly [name: string, subject: Subject][] = [
  ["CN=photos,O=Acme,C=DE", [[[C, "DE"]], [[O, "Acme"]], [[CN, "photos"]]]],
  ["cn = photos, o = acme", [[[O, "Acme"]], [[CN, "photos"]]]],
  ["2.5.4.3=photos", [[[CN, "photos"]]]],
  ["emailAddress=a@b.example", [[[EMAIL, "a@b.example"]]]],
  ["E=a@b.example", [[[EMAIL, "a@b.example"]]]],
  ["UID=ada", [[[UID, "ada"]]]],
  ["1.2.3.4=x", [[["1.2.3.4", "x"]]]],
  [
    "OU=b+CN=a",
    [
      [
        [CN, "a"],
        [OU, "b"],
      ],
    ],
  ],
  ["O=Acme\\, Inc", [[[O, "Acme, Inc"]]]],
  ["O=Acme\\2C Inc", [[[O, "Acme, Inc"]]]],
  ['O=a\\"b\\<c\\>\\;d\\=e\\\\f\\+g', [[[O, 'a"b<c>;d=e\\f+g']]]],
  ["O=\\5C\\2Cx", [[[O, "\\,x"]]]],
  ["O=\\#1", [[[O, "#1"]]]],
  ["O=acme photos", [[[O, "  Acme   Photos "]]]],
  ["CN=Lu\\C4\\8Di\\C4\\87", [[[CN, "Lučić"]]]],
  ["CN=LUČIĆ", [[[CN, "Lučić"]]]],
  ["OU=a\\0ACN\\=b", [[[OU, "a\nCN=b"]]]],
];

const DIFFERENT: readonly [name: string, subject: Subject][] = [
  ["CN=photos", [[[C, "DE"]], [[CN, "photos"]]]],
  ["C=DE,CN=photos", [[[C, "DE"]], [[CN, "photos"]]]],
  [
    "CN=photos,O=Acme",
    [
      [
        [O, "Acme"],
        [CN, "photos"],
      ],
    ],
  ],
  ["CN=photos", [[[CN, "photo"]]]],
  ["CN=photos", [[[O, "photos"]]]],
  ["CN=a,O=Acme", [[[CN, "a,O=Acme"]]]],
  ["CN=a,O=Acme", [[[O, "Acme\nCN=a"]]]],
  ["CN=a+OU=b", [[[CN, "a + OU=b"]]]],
];

describe("distinguished names (RFC 4514)", () => {
  const subject = (steps: Subject) => subjectOf(aCertificate({ subject: steps }).certificate);
  const same = (name: string, steps: Subject) =>
    sameName(parseDistinguishedName(name) ?? [], subject(steps) as DistinguishedName);

  for (const [name, steps] of SAME)
    it(`${name} is the subject ${JSON.stringify(steps)}`, () => assert.ok(same(name, steps)));

  for (const [name, steps] of DIFFERENT)
    it(`${name} is not the subject ${JSON.stringify(steps)}`, () => assert.ok(!same(name, steps)));

  for (const text of ["", "photos", "CN=a,", "CN=a;O=b", 'CN="a"', "=a", "CN=#04024869", "CN=\\x"])
    it(`${JSON.stringify(text)} is no name`, () =>
      assert.equal(parseDistinguishedName(text), undefined));

  it("an empty subject equals nothing", () => {
    assert.equal(subject([]), undefined);
    assert.equal(subjectOf({ subject: undefined }), undefined);
  });
});
