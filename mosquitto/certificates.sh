#!/bin/sh
# Makes a certificate authority for the demo's broker and a certificate signed by it, once.
#
#   certificates.sh DIRECTORY HOST ...
#
# writes ca.crt (what clients trust), server.crt and server.key (for user id 1883 alone).
# The authority's key is thrown away: nobody can sign anything else with it.
set -eu
umask 077
directory=$1
shift
broker_uid=1883

if [ -f "$directory/server.crt" ]; then
    echo "Certificates exist already."
    exit 0
fi

names=
for host in "$@"; do
    names="$names${names:+,}DNS:$host"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 3650 \
    -subj "/CN=sparkplug-zerobus demo authority" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$work/ca.key" -out "$work/ca.crt" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
    -keyout "$work/server.key" -out "$work/server.csr" 2>/dev/null
# Python 3.13 refuses certificates without these extensions.
cat >"$work/extensions" <<END
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName=$names
END
openssl x509 -req -in "$work/server.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" \
    -CAcreateserial -sha256 -days 3650 -extfile "$work/extensions" \
    -out "$work/server.crt" 2>/dev/null

cp "$work/ca.crt" "$work/server.key" "$directory/"
chmod 0755 "$directory"
chmod 0444 "$directory/ca.crt"
chmod 0400 "$directory/server.key"
chown "$broker_uid:$broker_uid" "$directory/server.key"
cp "$work/server.crt" "$directory/part" # last: it says that everything is there
chmod 0444 "$directory/part"
mv "$directory/part" "$directory/server.crt"
echo "Made certificates for: $*"
