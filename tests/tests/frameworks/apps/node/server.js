const express = require('express')
const { Pool } = require('pg')

const release = 'one'
// As in Heroku's guide.
const pool = new Pool({
  connectionString: process.env.DATABASE_URL,
  ssl: { rejectUnauthorized: false }
})
pool.on('error', (error) => console.error('lost an idle connection:', error.message))

const app = express()
app.use(express.text())
const show = async (response) => {
  const { rows } = await pool.query('SELECT text FROM notes ORDER BY id')
  response.send([release, ...rows.map((row) => row.text)].join(' '))
}
app.get('/', (_, response, next) => show(response).catch(next))
app.post('/', (request, response, next) =>
  pool.query('INSERT INTO notes (text) VALUES ($1)', [request.body])
    .then(() => show(response))
    .catch(next))
app.listen(process.env.PORT)
