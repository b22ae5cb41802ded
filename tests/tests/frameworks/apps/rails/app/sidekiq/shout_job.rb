class ShoutJob
  include Sidekiq::Worker

  def perform(id)
    note = Note.find(id)
    note.update!(text: note.text.upcase)
  end
end
