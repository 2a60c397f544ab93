for (let i = 0; i < 100000; i++) console.log('x'.repeat(1000)); 'said'
