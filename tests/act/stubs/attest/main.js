// Dependency-free stand-in for actions/attest: says what would be attested, and attests nothing. The real one
// proves to sigstore which workflow this is, for which there must be a GitHub.
const { fs, path, input, fail, re, walk } = require('./lib.js')
const crypto = require('crypto')

const pattern = path.resolve(process.env.GITHUB_WORKSPACE, input('subject-path'))
const folder = pattern.slice(0, pattern.search(/[*?]|$/)).replace(/[^/]*$/, '')
const subjects = fs.existsSync(folder) ? walk(folder).filter(file => re(pattern).test(file)) : []
if (!input('subject-path') || !subjects.length) fail(`Could not find subject at path ${input('subject-path')}`)
for (const file of subjects) {
  const digest = crypto.createHash('sha256').update(fs.readFileSync(file)).digest('hex')
  console.log(`not attested (stub): ${path.basename(file)} sha256:${digest}`)
}
