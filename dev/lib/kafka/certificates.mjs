import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './processes.mjs';

const DAYS = '3650';

/** Of the PKCS #12 keystores; the same keys lie beside them as PEM files, so it guards nothing. */
export const KEYSTORE_PASSWORD = 'keystore-secret';

async function openssl(args) {
  const result = await run('openssl', args);
  if (result.code !== 0) {
    throw new Error(
      `openssl ${args[0]} failed; the encrypted listeners need OpenSSL 1.1.1 or newer on the PATH: ${result.stderr.trim() || `exit code ${result.code}`}`,
    );
  }
}

async function authority(dir, name) {
  const [key, cert] = [join(dir, `${name}.key`), join(dir, `${name}.pem`)];
  // Its usages must be spelled out: OpenSSL and Java both refuse a CA without them.
  await openssl([
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    DAYS,
    '-subj',
    `/CN=${name}`,
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
    '-keyout',
    key,
    '-out',
    cert,
  ]);
  return { key, cert };
}

async function signed(dir, name, ca, extensions) {
  const [key, cert, csr, ext] = ['key', 'pem', 'csr', 'ext'].map((end) =>
    join(dir, `${name}.${end}`),
  );
  await writeFile(ext, extensions);
  await openssl([
    'req',
    '-new',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    key,
    '-out',
    csr,
  ]);
  await openssl([
    'x509',
    '-req',
    '-in',
    csr,
    '-CA',
    ca.cert,
    '-CAkey',
    ca.key,
    '-set_serial',
    `0x${Buffer.from(name).toString('hex')}`,
    '-days',
    DAYS,
    '-extfile',
    ext,
    '-out',
    cert,
  ]);
  return { key, cert };
}

/**
 * Makes the certificates of a cluster as PEM files in `dir`: a CA, a server and a client
 * certificate (each also as the PKCS #12 keystore that Java wants), and `stranger.pem`, a CA that has signed none of them.
 */
export async function makeCertificates(dir) {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const [ca] = await Promise.all([authority(dir, 'ca'), authority(dir, 'stranger')]);
  const [server, client] = await Promise.all([
    // The address also as a DNS name: some clients compare the host they dial with DNS names only.
    signed(
      dir,
      'server',
      ca,
      'subjectAltName=DNS:localhost,DNS:127.0.0.1,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n',
    ),
    signed(dir, 'client', ca, 'extendedKeyUsage=clientAuth\n'),
  ]);
  // Not PEM keystores: Kafka 2.8 takes those only with encrypted keys.
  for (const [name, { key, cert }] of [
    ['server', server],
    ['client', client],
  ]) {
    await openssl([
      'pkcs12',
      '-export',
      '-inkey',
      key,
      '-in',
      cert,
      '-certfile',
      ca.cert,
      '-passout',
      `pass:${KEYSTORE_PASSWORD}`,
      '-out',
      join(dir, `${name}.p12`),
    ]);
  }
}

/** The paths of what `makeCertificates` makes. */
export function certificatePaths(dir) {
  return {
    ca: join(dir, 'ca.pem'),
    strangerCa: join(dir, 'stranger.pem'),
    clientCert: join(dir, 'client.pem'),
    clientKey: join(dir, 'client.key'),
    clientKeystore: join(dir, 'client.p12'),
    serverKeystore: join(dir, 'server.p12'),
  };
}
