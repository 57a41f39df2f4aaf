// Dependency-free stand-in for actions/checkout. act copies the working tree itself and never runs this one,
// except for another repository or ref, even if the expressions that name them are empty, as job.workflow_* is
// in act: then it is the repository of the workflow, which STUB_REPOS names.
// STUB_REPOS: JSON {"owner/name": "path of a local git repository"}
const { fs, path, input, put, fail } = require('./lib.js')
const { execFileSync } = require('child_process')
const git = (...args) =>
  execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim()

const repo = input('repository') || process.env.GITHUB_REPOSITORY
const source = JSON.parse(process.env.STUB_REPOS || '{}')[repo]
if (!source) fail(`STUB_REPOS has no entry for ${repo}`)

const dest = path.resolve(process.env.GITHUB_WORKSPACE, input('path') || '.')
const ref = input('ref') || 'HEAD'
const depth = input('fetch-depth') || '1'
fs.mkdirSync(dest, { recursive: true })
git('init', '-q', dest)
// Objects that are on this machine need no copying.
const objects = git('-C', source, 'rev-parse', '--path-format=absolute', '--git-path', 'objects')
fs.writeFileSync(path.join(dest, '.git/objects/info/alternates'), objects + '\n')
git('-C', dest, 'fetch', '-q', ...(depth === '0' ? ['--tags'] : ['--depth=' + depth]), 'file://' + source, ref)
git('-C', dest, 'checkout', '-q', '--detach', 'FETCH_HEAD')

const commit = git('-C', dest, 'rev-parse', 'HEAD')
put('GITHUB_OUTPUT', 'commit', commit)
put('GITHUB_OUTPUT', 'ref', ref)
console.log(`checked out ${repo}@${ref} (${commit})`)
