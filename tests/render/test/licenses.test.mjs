import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isPermissive } from '../licenses.mjs';

test('a choice needs one permissive licence, and a sum all of them', () => {
  for (const expression of ['MIT', '(MIT OR GPL-3.0-only)', 'MPL-2.0 OR Apache-2.0', '(MIT AND BSD-3-Clause)', 'GPL-2.0-only AND MIT OR ISC']) {
    assert.ok(isPermissive(expression), expression);
  }
  for (const expression of ['none', 'AGPL-3.0-only', 'MIT AND GPL-2.0-only', '(MIT OR ISC) AND LGPL-3.0-only', 'Apache-2.0 WITH LLVM-exception']) {
    assert.ok(!isPermissive(expression), expression);
  }
});
