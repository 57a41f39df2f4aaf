// node validate.mjs ROOT FILE...   GitHub's language service (@actions/languageservice): the parser's checks, plus contexts,
// needs/steps outputs, inputs of actions, called workflows. ROOT = repository root; STUBS = folder of stub actions (their
// action.yml gives the inputs of actions/*); SELF = owner/name of this repository. Offline. exit 1 on errors.
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { TextDocument } from 'vscode-languageserver-textdocument'
import YAML from 'yaml'
import './json-hook.mjs'
const { validate } = await import('@actions/languageservice')

const [root, ...files] = process.argv.slice(2)
const SELF = process.env.SELF || 'self/self',
  STUBS = process.env.STUBS
const meta = dir => {
  const f = ['action.yml', 'action.yaml'].map(n => path.join(dir, n)).find(p => fs.existsSync(p))
  return f && YAML.parse(fs.readFileSync(f, 'utf8'))
}
const config = {
  actionsMetadataProvider: {
    async fetchActionMetadata({ owner, name, path: sub }) {
      if (`${owner}/${name}` === SELF || `${owner}/${name}` === 'self/self')
        // .aprqa is where the reusable workflows check this repository out
        return meta(path.join(root, (sub ?? '').replace(/^\.aprqa$/, '')))
      const stub = owner === 'actions' && STUBS && meta(path.join(STUBS, name))
      if (stub) return stub
      return { name, description: '' } // unknown third-party action: inputs are not checked
    },
  },
  fileProvider: {
    async getFileContent(ref) {
      return { name: ref.path, content: fs.readFileSync(path.join(root, ref.path), 'utf8') }
    },
  },
}
let bad = 0
for (const f of files) {
  // the service does not look at `uses: ./dir`; give it a name that the provider above resolves to this repository
  const text = fs
    .readFileSync(f, 'utf8')
    .replace(
      /(\buses:\s*)\.\/(?!\.github\/workflows\/)([^\s'"#,}]*)/g,
      (_, u, p) => `${u}self/self${p ? '/' + p : ''}@v0`,
    )
  const doc = TextDocument.create(pathToFileURL(path.resolve(f)).href, 'yaml', 1, text)
  for (const d of await validate(doc, config)) {
    const sev = ['error', 'error', 'warning', 'info', 'hint'][d.severity ?? 1]
    console.log(`${f}:${d.range.start.line + 1}:${d.range.start.character + 1}: ${sev}: ${d.message}`)
    if (sev === 'error') bad = 1
  }
}
process.exit(bad)
