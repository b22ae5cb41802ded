class NotesController < ActionController::API
  RELEASE = 'one'

  def index
    render plain: [RELEASE, *Note.order(:id).pluck(:text)].join(' ')
  end

  def create
    note = Note.create!(text: request.raw_post)
    ShoutJob.perform_async(note.id)
    index
  end
end
