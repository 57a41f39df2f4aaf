// Dependency-free stand-in for actions/attest: says what would be attested, and attests nothing. The real one
// proves to sigstore which workflow this is, for which there must be a GitHub.
const { fs, path, input, put, fail, re, walk } = require('./lib.js')
const crypto = require('crypto')

const from = name => path.resolve(process.env.GITHUB_WORKSPACE, input(name))

// the subjects: files that a pattern names, or the lines of a file of checksums, which may be of files elsewhere
const ofPath = () => {
  const pattern = from('subject-path')
  const folder = pattern.slice(0, pattern.search(/[*?]|$/)).replace(/[^/]*$/, '')
  const found = fs.existsSync(folder) ? walk(folder).filter(file => re(pattern).test(file)) : []
  return found.map(file => [
    path.basename(file),
    crypto.createHash('sha256').update(fs.readFileSync(file)).digest('hex')
  ])
}
const ofChecksums = () =>
  fs
    .readFileSync(from('subject-checksums'), 'utf8')
    .split('\n')
    .filter(line => line)
    .map(line => {
      const told = /^([0-9a-f]{64}) [ *](.+)$/.exec(line)
      if (!told) fail(`Invalid checksum line: ${line}`)
      return [told[2], told[1]]
    })

if (Boolean(input('subject-path')) === Boolean(input('subject-checksums')))
  fail('One of subject-path, subject-digest, or subject-checksums must be provided')
const subjects = input('subject-path') ? ofPath() : ofChecksums()
if (!subjects.length) fail(`Could not find subject at path ${input('subject-path')}`)
if (subjects.length > 1024) fail('Too many subjects specified. The maximum number of subjects is 1024.')
for (const [name, digest] of subjects) console.log(`not attested (stub): ${name} sha256:${digest}`)
if (Boolean(input('predicate-type')) !== Boolean(input('predicate-path'))) fail('predicate-type and predicate-path go together')
const bundle = path.join(process.env.RUNNER_TEMP || '/tmp', 'attestation.json')
const statement = {
  _type: 'https://in-toto.io/Statement/v1',
  subject: subjects.map(([name, sha256]) => ({ name, digest: { sha256 } })),
  predicateType: input('predicate-type') || 'https://slsa.dev/provenance/v1',
  predicate: input('predicate-path') ? JSON.parse(fs.readFileSync(from('predicate-path'), 'utf8')) : {}
}
fs.writeFileSync(bundle, JSON.stringify({ unsigned: statement }) + '\n')
put('GITHUB_OUTPUT', 'bundle-path', bundle)
