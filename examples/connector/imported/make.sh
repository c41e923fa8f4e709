#!/usr/bin/env bash
# Makes the PFX files that the example imports, with OpenSSL, NSS and Java's keytool. Their keys are for demonstration only.
# Every file has the password "import-me"; wrong-password.p12 has another one.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
pw=import-me

openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/ca.key" -out "$work/ca.pem" -subj "/O=TEST ONLY/CN=S\/MIME demonstration CA" -days 36500 2>/dev/null
leaf() { # name keyspec...
    local name=$1; shift
    openssl req -newkey "$@" -nodes -keyout "$work/$name.key" -out "$work/$name.csr" -subj "/CN=$name/emailAddress=$name@example.test" 2>/dev/null
    printf 'subjectAltName=email:%s@example.test\nextendedKeyUsage=emailProtection\nkeyUsage=critical,digitalSignature,keyEncipherment\n' "$name" > "$work/ext"
    openssl x509 -req -in "$work/$name.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 36500 -extfile "$work/ext" -out "$work/$name.pem" 2>/dev/null
}
leaf openssl rsa:2048; leaf legacy rsa:2048; leaf ec ec -pkeyopt ec_paramgen_curve:P-256; leaf nss rsa:2048; leaf keytool rsa:2048

openssl pkcs12 -export -inkey "$work/openssl.key" -in "$work/openssl.pem" -certfile "$work/ca.pem" -name openssl -passout pass:$pw -out openssl-modern.p12
openssl pkcs12 -export -legacy -inkey "$work/legacy.key" -in "$work/legacy.pem" -certfile "$work/ca.pem" -name legacy -passout pass:$pw -out openssl-legacy.p12
openssl pkcs12 -export -inkey "$work/ec.key" -in "$work/ec.pem" -name ec -passout pass:$pw -out openssl-ec.p12
openssl pkcs12 -export -inkey "$work/ec.key" -in "$work/ec.pem" -name ec -passout pass:another -out wrong-password.p12

openssl pkcs12 -export -inkey "$work/nss.key" -in "$work/nss.pem" -certfile "$work/ca.pem" -name nss -passout pass:$pw -out "$work/for-nss.p12"
mkdir "$work/db"; certutil -N -d "sql:$work/db" --empty-password
pk12util -i "$work/for-nss.p12" -d "sql:$work/db" -W $pw > /dev/null
pk12util -o nss.p12 -n nss -d "sql:$work/db" -W $pw > /dev/null

openssl pkcs12 -export -inkey "$work/keytool.key" -in "$work/keytool.pem" -certfile "$work/ca.pem" -name keytool -passout pass:$pw -out "$work/for-keytool.p12"
keytool -importkeystore -srckeystore "$work/for-keytool.p12" -srcstoretype PKCS12 -srcstorepass $pw -destkeystore keytool.p12 -deststoretype PKCS12 -deststorepass $pw 2> /dev/null
chmod 644 ./*.p12
