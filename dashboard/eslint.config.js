import js from '@eslint/js';
import svelte from 'eslint-plugin-svelte';
import globals from 'globals';
import ts from 'typescript-eslint';
import svelteConfig from './svelte.config.js';

export default ts.config(
  { ignores: ['dist/', 'node_modules/'] },
  js.configs.recommended,
  ...ts.configs.strict,
  ...svelte.configs.recommended,
  { languageOptions: { globals: { ...globals.browser } } },
  {
    files: ['**/*.svelte', '**/*.svelte.ts'],
    languageOptions: { parserOptions: { parser: ts.parser, svelteConfig } },
  },
  {
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'error',
      'svelte/no-at-html-tags': 'error',
      // The page's policy refuses style attributes; style directives set properties and are fine.
      'no-restricted-syntax': ['error', 'SvelteAttribute[key.name="style"]'],
      'svelte/no-navigation-without-resolve': 'off',
    },
  },
  {
    files: ['e2e/**/*.js', '*.config.*'],
    languageOptions: { globals: { ...globals.node, ...globals.browser } },
  },
);
