#!/usr/bin/env bash
# Makes the fixed identities and the seeds with OpenSSL, certtool and pk12util; run once, the results are kept in fixed/ and seeds/.
# Iteration counts are small, so that the fuzzer reads and does not derive.
set -euo pipefail
cd "$(dirname "$0")/seeds"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/ca.key" -out "$work/ca.pem" -subj "/CN=TEST seed CA" -days 3650 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout "$work/rsa.key" -subj "/C=US/O=seed/CN=rsa" -out "$work/rsa.csr" 2>/dev/null
for kind in ec second; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/$kind.key" -subj "/CN=$kind" -out "$work/$kind.csr" 2>/dev/null
done
printf 'subjectAltName=email:a@example.test,DNS:a.example.test,URI:tag:microsoft.com,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:a@example.test\nextendedKeyUsage=clientAuth,emailProtection\nkeyUsage=critical,digitalSignature,keyEncipherment\n' > "$work/leaf.ext"
for kind in rsa ec second; do
    openssl x509 -req -in "$work/$kind.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -extfile "$work/leaf.ext" -days 3650 -out "$work/$kind.pem" 2>/dev/null
    openssl x509 -in "$work/$kind.pem" -outform DER -out "../fixed/$kind.der"
    openssl pkcs8 -topk8 -nocrypt -in "$work/$kind.key" -outform DER -out "../fixed/$kind.pk8"
done
openssl x509 -in "$work/ca.pem" -outform DER -out ../fixed/ca.der
chmod 644 ../fixed/*
for kind in rsa ec; do
    openssl x509 -in "$work/$kind.pem" -outform DER -out "certificate/$kind.der"
    printf '[req]\nprompt=no\ndistinguished_name=dn\nattributes=at\nreq_extensions=ex\n[dn]\nCN=%s\n[at]\nchallengePassword=secret\n[ex]\nsubjectAltName=DNS:a.example.test\nextendedKeyUsage=clientAuth\n' "$kind" > "$work/req.cnf"
    openssl req -new -key "$work/$kind.key" -config "$work/req.cnf" -outform DER -out "csr/$kind.der"
    openssl pkcs12 -export -inkey "$work/$kind.key" -in "$work/$kind.pem" -passout pass:pw -iter 1 -name "seed $kind" -out "pfx/$kind-modern.p12"
done
openssl pkcs12 -export -legacy -iter 1 -inkey "$work/ec.key" -in "$work/ec.pem" -passout pass:pw -out pfx/ec-legacy.p12
openssl pkcs12 -export -nomac -keypbe NONE -certpbe NONE -inkey "$work/ec.key" -in "$work/ec.pem" -passout pass: -out pfx/ec-clear-nomac.p12
certtool --to-p12 --load-privkey "$work/ec.key" --load-certificate "$work/ec.pem" --p12-name seed --password pw --outder --outfile pfx/ec-certtool.p12 2>/dev/null
mkdir "$work/nss"; certutil -N -d "sql:$work/nss" --empty-password
pk12util -i pfx/ec-modern.p12 -d "sql:$work/nss" -W pw >/dev/null; pk12util -o pfx/ec-nss.p12 -n "seed ec" -d "sql:$work/nss" -W pw >/dev/null

touch "$work/index.txt"; echo 1000 > "$work/crlnumber"
printf '[ca]\ndefault_ca=c\n[c]\ndatabase=%s\ncrlnumber=%s\ndefault_md=sha256\ndefault_crl_days=30\n' "$work/index.txt" "$work/crlnumber" > "$work/ca.cnf"
openssl ca -config "$work/ca.cnf" -gencrl -keyfile "$work/rsa.key" -cert "$work/rsa.pem" 2>/dev/null | openssl crl -outform DER -out crl/empty.der

echo "the content" > "$work/content"
openssl cms -encrypt -aes256 -in "$work/content" -outform DER -out enveloped/rsa-aes256.der "$work/rsa.pem"
openssl cms -encrypt -stream -aes128 -in "$work/content" -outform DER -out enveloped/rsa-aes128-stream.der "$work/rsa.pem"
openssl cms -encrypt -aes256 -in "$work/content" -outform DER -out enveloped/rsa-oaep.der -recip "$work/rsa.pem" -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256
openssl cms -encrypt -des3 -in "$work/content" -outform DER -out enveloped/rsa-3des.der "$work/rsa.pem"
openssl cms -encrypt -aes256 -in "$work/content" -outform DER -out enveloped/ec-agreement.der -recip "$work/ec.pem"
key=$(printf '07%.0s' $(seq 32))
openssl cms -encrypt -aes256 -in "$work/content" -outform DER -out enveloped/kek.der -secretkey "$key" -secretkeyid 01
openssl cms -encrypt -aes256 -in "$work/content" -outform DER -out enveloped/password.der -pwri_password pw
openssl cms -encrypt -aes-256-gcm -in "$work/content" -outform DER -out enveloped/rsa-gcm.der "$work/rsa.pem"
openssl cms -encrypt -aes-128-gcm -in "$work/content" -outform DER -out enveloped/ec-gcm.der -recip "$work/ec.pem"
openssl cms -EncryptedData_encrypt -aes256 -in "$work/content" -outform DER -out enveloped/encrypted-data.der -secretkey "$key"
openssl cms -sign -nodetach -signer "$work/rsa.pem" -inkey "$work/rsa.key" -in "$work/content" -outform DER -out signed/rsa.der
openssl cms -sign -nodetach -stream -signer "$work/ec.pem" -inkey "$work/ec.key" -in "$work/content" -outform DER -out signed/ec-stream.der
openssl crl2pkcs7 -nocrl -certfile "$work/rsa.pem" -outform DER -out signed/certs-only.der
openssl cms -encrypt -aes128 -in csr/rsa.der -binary -outform DER -out "$work/inner.der" "$work/rsa.pem"
openssl cms -sign -binary -nodetach -signer "$work/rsa.pem" -inkey "$work/rsa.key" -in "$work/inner.der" -outform DER -out scep/no-attributes.der
# Choices for pfx_build: every byte is a decision.
printf '\x00\x01\x01\x06seed\xc3\xb6\x04csp1\x08password\x10\x0f\x00\x00\x10\x00\x01' > pfx_build/built
head -c 400 ../fixed/rsa.pk8 | sed 's/^/\x01/' > pfx_build/assembled
printf '\x01\x02pw\x02\x03\x00\x00\x00\x03\x04name\x02\x09\x09\x02\x02\x01\x00\x00\x01\x03\x01\x01\x00\x00\x01\x00\x00' > pfx_build/small
printf 'CN="Doe, Jane",OU=a+OU=b,O=Contoso,C=US' > name_text/quoted
printf 'E=a@example.test;OID.1.2.3=#0c0161\\,SERIALNUMBER=1' > name_text/oid
printf 'S-1-5-21-3623811015-3361044348-30300820-1013' > identifiers/sid
printf '0x0a:1B 2c' > identifiers/serial
printf '1.3.6.1.4.1.311.25.2' > identifiers/oid
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -outform DER -out keys/rsa.pk8 2>/dev/null
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -outform DER -out keys/ec.pk8
for kind in rsa ec; do openssl pkey -in "keys/$kind.pk8" -inform DER -pubout -outform DER -out "keys/$kind.spki"; done
openssl rsa -in keys/rsa.pk8 -inform DER -outform MSBLOB -out keys/rsa.capi 2>/dev/null
openssl ec -in keys/ec.pk8 -inform DER -out keys/ec.pem 2>/dev/null
openssl pkcs8 -topk8 -in keys/rsa.pk8 -inform DER -passout pass:fuzz -iter 2048 -out keys/rsa-encrypted.pem
openssl rsa -in keys/rsa.pk8 -inform DER -traditional -outform DER -out "$work/rsa.pkcs1" 2>/dev/null
# The blobs of CNG from the INTEGERs of PKCS#1: version, n, e, d, p, q, dP, dQ, qInv.
python3 - "$work/rsa.pkcs1" <<'PYTHON'
import struct, sys
der, at, numbers = open(sys.argv[1], "rb").read(), 4, []
while at < len(der):
    length, at = der[at + 1], at + 2
    if length > 0x80:
        octets = length - 0x80
        length, at = int.from_bytes(der[at:at + octets], "big"), at + octets
    numbers.append(int.from_bytes(der[at:at + length], "big"))
    at += length
_, n, e, d, p, q, dp, dq, qinv = numbers
header = lambda magic: magic + struct.pack("<5I", 2048, 3, 256, 128, 128)
short = e.to_bytes(3, "big") + n.to_bytes(256, "big") + p.to_bytes(128, "big") + q.to_bytes(128, "big")
rest = b"".join(x.to_bytes(128, "big") for x in (dp, dq, qinv)) + d.to_bytes(256, "big")
open("keys/rsa.rsa2", "wb").write(header(b"RSA2") + short)
open("keys/rsa.rsa3", "wb").write(header(b"RSA3") + short + rest)
open("keys/rsa.rsa1", "wb").write(b"RSA1" + struct.pack("<5I", 2048, 3, 256, 0, 0) + short[:259])
PYTHON
printf 'operation=PKIOperation&message=MIIB+A%%2B/%%0A==' > http/get
printf 'operation=GetCACaps&message=default' > http/caps
printf 'operation=GetCACert' > http/cert
cp scep/no-attributes.der http/post.der
chmod 644 keys/*
