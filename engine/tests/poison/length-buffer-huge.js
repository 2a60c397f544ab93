try { new ArrayBuffer(2 ** 40).byteLength } catch (e) { 'caught ' + e.message }
