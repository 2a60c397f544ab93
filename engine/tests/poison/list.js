var l = null; for (var i = 0; i < 200000; i++) l = { l }; l = null; 'dropped'
